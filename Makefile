# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0

# Any Python from 3.7 on: it only starts the installer, which finds the stack's CPython.
# Of the versions that a stack runs on, one named here is the one that gets used.
PYTHON ?= python3
# The set of versions: current (CPython 3.11 to 3.13, glibc 2.39), stable (3.10), or auto,
# the newest that this machine can run.
STACK ?= auto
CONFIG ?= configs/movielens-100k.yaml
# The folder of all runs; every run has a folder of its pipeline's name in it.
ROOT ?= runs
# What pytest runs.
TESTS ?= tests
# Tests at the same time; each of them may take 3 GB.
PROCESSES ?= 2
# A file's tests in one process, in the order of the folders: what takes long is early.
SPREAD := --dist loadfile --no-loadscope-reorder
# More arguments for `shortlist run`, pytest or `uv pip compile`.
ARGS ?=

BIN := .venv/bin

# A version manager's shim may stand first on PATH and yet start nothing, so the
# first Python that really runs is taken; that of .venv starts fastest.
OWN_PYTHON := $(if $(filter file,$(origin PYTHON)),.venv/bin/python)

define python
@IFS=:; for python in $(OWN_PYTHON) "$(PYTHON)" $$PATH /usr/bin; do \
    test -d "$$python" && python="$$python/python3"; \
    if "$$python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2>/dev/null; \
    then exec "$$python" $(1); fi; \
done; \
echo 'No Python 3.7 or newer runs here: install python3 or name one with' \
    '`make PYTHON=/path/to/python3`.' >&2; exit 1
endef
# A variable and its value, as one word for a shell.
quoted = '$(1)=$(subst ','\'',$($(1)))'
install = $(call python,requirements/install.py $(1) --stack $(STACK))

.DEFAULT_GOAL := help
.PHONY: help install run test test-current test-fast lock clean

help: ## Show this list
	@echo 'make TARGET [STACK=auto] [PYTHON=python3] [CONFIG=file] [ROOT=folder] [ARGS=...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) \
	    | expand -t 16

install: ## Make .venv with all that Shortlist runs on
	$(call install,run)

run: ## Train, index, evaluate and push a model, then recommend for a user
	$(call install,run)
	$(BIN)/shortlist run $(CONFIG) --root $(ROOT) $(ARGS)
	$(BIN)/shortlist recommend --root $(ROOT) --query user_id=42 -k 3

test: ## Check style and types and run all tests
	$(call install,test)
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest -n $(PROCESSES) $(SPREAD) $(TESTS) $(ARGS)

test-current: ## Run all tests on the stack `current`, in a Debian 13 if need be
	$(call python,requirements/debian.py make test STACK=current \
	    $(call quoted,TESTS) $(call quoted,PROCESSES) $(call quoted,ARGS))

test-fast: ## Run the unit tests
	$(call install,test)
	$(BIN)/pytest tests/unit $(ARGS)

lock: ## Write requirements/*.lock anew (ARGS=--upgrade: with newer versions)
	$(call install,lock $(ARGS))

clean: ## Remove .venv and .tools; runs and data stay
	rm -rf .venv .tools
