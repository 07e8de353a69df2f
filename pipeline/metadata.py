# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Where ML Metadata is: SQLite beside the runs, or MySQL, which many may share."""

from ml_metadata import errors, metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import DatabaseConfig, MetadataConfig
from pipeline.layout import Layout
from serving.errors import UserError

_Sqlite = metadata_store_pb2.SqliteMetadataSourceConfig


def connection_to(
    config: MetadataConfig, layout: Layout, read_only: bool = False
) -> metadata_store_pb2.ConnectionConfig:
    """Says how to reach ML Metadata; TFX's own helper makes the folder at once.

    Args:
      config: Which database.
      layout: Where SQLite's file is.
      read_only: Make no file where there is none.

    Raises:
      UserError: The password can't be read.
    """
    connection = metadata_store_pb2.ConnectionConfig()
    if config.mysql:
        given = _settings(config.mysql)
        connection.mysql.MergeFrom(metadata_store_pb2.MySQLDatabaseConfig(**given))
    else:
        connection.sqlite.filename_uri = layout.metadata
        connection.sqlite.connection_mode = (
            _Sqlite.READONLY if read_only else _Sqlite.READWRITE_OPENCREATE
        )
    return connection


def _settings(config: DatabaseConfig) -> dict:
    given = config.model_dump(exclude={"password_file"}, exclude_none=True)
    password = config.password()
    return {**given, "password": password} if password else given


def open_store(
    config: MetadataConfig, layout: Layout, read_only: bool = False
) -> metadata_store.MetadataStore:
    """Opens ML Metadata.

    Raises:
      UserError: It can't be reached.
    """
    connection = connection_to(config, layout, read_only)
    try:
        return metadata_store.MetadataStore(connection)
    except (errors.StatusError, RuntimeError) as error:
        if config.mysql:
            raise UserError(
                f"ML Metadata at {config.mysql.host}:{config.mysql.port} can't be "
                f"opened ({str(error).splitlines()[0]}); check metadata.mysql in the "
                "config, and whether the server runs"
            ) from None
        raise UserError(
            f"{layout.metadata} can't be opened; run the pipeline first, or name "
            "another --root"
        ) from None
