# make help lists what there is
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Python 3.11 or 3.12, the first of these that really starts; give your own with make PYTHON=...
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
OUT ?= features

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/run.stamp ## make .venv and install what the product needs, at locked versions

features: $(VENV)/run.stamp ## features of the photos in samples/, into features/ (OUT=...)
	@$(BIN)/resnetfea extract samples/ -o $(OUT) --overwrite
	@$(BIN)/python examples/nearest.py $(OUT)

test: test-fast ## all tests
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile  # each takes some gigabytes

test-fast: $(VENV)/dev.stamp ## the tests that need neither MindSpore nor a compiled graph
	$(BIN)/python -m pytest -q -m "not slow" -n auto --dist worksteal

lint: $(VENV)/dev.stamp ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp ## lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

parity: parity-torch diagnoses parity-others ## live against PyTorch and real libraries, in environments of their own

parity-torch: $(VENV)/dev.stamp .venv-parity/stamp ## of it: our own PyTorch network, every variant, pyramids, gradients
	rm -rf build/parity
	PYTHONPATH=src:tests .venv-parity/bin/python tests/parity/write_references.py build/parity --full
	PYTHONPATH=tests $(BIN)/python tests/parity/compare.py build/parity
	REFERENCES=$(CURDIR)/build/parity $(BIN)/python -m pytest -q -k pytorchs \
		tests/network/test_fpn.py tests/engine/test_pyramid.py tests/network/test_gradients.py

ONLY ?=
diagnoses: $(VENV)/dev.stamp .venv-parity/stamp ## of it: diagnose on 48 wrong ports and 10 right ones; ONLY='"no eps" ...'
	rm -rf build/planted
	PYTHONPATH=tests $(BIN)/python tests/parity/compare_planted.py build/planted --give
	PYTHONPATH=src:tests .venv-parity/bin/python tests/parity/write_planted.py build/planted $(if $(ONLY),--only $(ONLY))
	PYTHONPATH=tests $(BIN)/python tests/parity/compare_planted.py build/planted $(if $(ONLY),--only $(ONLY))
	rm -rf build/planted

# Another cache, so that the user's does not fill with these networks; some gigabytes, away at the end.
parity-others: $(VENV)/dev.stamp .venv-others/stamp ## of it: torchvision, timm, transformers, Keras, mmdet, detectron2, ...
	rm -rf build/others
	PYTHONPATH=src:tests .venv-others/bin/python tests/parity/others/write.py build/others
	PYTHONPATH=.venv-others/mindspore:tests $(BIN)/python tests/parity/others/write.py build/others mindcv
	RESNETFEA_CACHE=build/others/cache PYTHONPATH=tests $(BIN)/python tests/parity/others/compare.py build/others
	rm -rf build/others

FUZZ_SECONDS ?= 60
SEED ?= 0
fuzz: $(VENV)/dev.stamp ## damaged files into every reader of weights, FUZZ_SECONDS=60 each, from SEED=0
	PYTHONPATH=tests $(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) --seed $(SEED)

IMAGES ?= 100000
fuzz-images: $(VENV)/dev.stamp ## damaged pictures through extract, IMAGES=100000, from SEED=0; ten minutes
	PYTHONPATH=tests:. $(BIN)/python tests/fuzz/images.py --images $(IMAGES) --seed $(SEED)

KILLS ?= 200
crash: $(VENV)/dev.stamp ## kill extract at KILLS=200 random instants, from SEED=0: do its files stay what they should be?
	$(BIN)/python tests/crash/run.py --kills $(KILLS) --seed $(SEED)

measure-reading: $(VENV)/dev.stamp ## time and memory of reading a full-width file of each kind
	PYTHONPATH=tests $(BIN)/python tests/weights/measure_reading.py

FOLDER ?=
measure-scale: $(VENV)/dev.stamp ## time and memory of listing, of a run beside its network, of --resume, in FOLDER=empty place
	@test -n "$(FOLDER)" || { echo "give an empty place with 8 GB: make measure-scale FOLDER=..." >&2; exit 1; }
	RESNETFEA_OFFLINE=1 PYTHONPATH=src:tests $(BIN)/python -m benchmarks.measure_scale $(FOLDER)
	RESNETFEA_OFFLINE=1 PYTHONPATH=src:tests $(BIN)/python -m benchmarks.measure_run $(FOLDER)

PHOTOS ?=
measure-decode: $(VENV)/dev.stamp ## what --decode fast costs in accuracy, on PHOTOS=folder of large photos
	@test -n "$(PHOTOS)" || { echo "give a folder of photos of 3 to 50 megapixels: make measure-decode PHOTOS=..." >&2; exit 1; }
	$(BIN)/python benchmarks/measure_decode.py $(PHOTOS)

differences: $(VENV)/dev.stamp ## measure every trap of docs/why-numbers-differ.md anew, and write its tables
	PYTHONPATH=docs:tests $(BIN)/python -m differences

# In bench-short no time counts: what it looks at are the numbers' quality, and that the peers do the same work.
ROUNDS ?= 5
WEB ?= 512
PHONE ?= 96
BENCH := RESNETFEA_OFFLINE=1 PYTHONPATH=src:tests $(BIN)/python -m benchmarks
bench: $(VENV)/dev.stamp .venv-bench/stamp ## speed beside its peers into docs/performance.md, half an hour; ROUNDS=5 ...
	$(BENCH) --rounds $(ROUNDS) --web $(WEB) --phone $(PHONE) --only "$(ONLY)"

bench-short: $(VENV)/dev.stamp .venv-bench/stamp ## the quality of its rows on few photos, no ratios; a minute
	$(BENCH) --short

lock: ## compute requirements/*.txt anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		-c requirements/constraints.in -o requirements/run.txt --extra cluster pyproject.toml requirements/build.in
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" \
		-c requirements/constraints.in -c requirements/run.txt -o requirements/dev.txt --extra dev pyproject.toml

clean: ## remove environments and what was made
	rm -rf $(VENV) .venv-parity .venv-others .venv-bench build dist features

.PHONY: help setup features test test-fast lint format parity parity-torch parity-others diagnoses fuzz fuzz-images crash measure-scale measure-reading measure-decode differences bench bench-short lock clean

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; give it with make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/run.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# A version range would bring several GB of CUDA; the exact version takes the CPU build where the index has one.
.venv-parity/stamp: requirements/parity.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --disable-pip-version-check --quiet -r requirements/parity.txt
	@touch $@

.venv-bench/stamp: requirements/bench.txt
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check --quiet -r requirements/bench.txt
	@touch $@

OTHERS := .venv-others/bin/python -m pip --disable-pip-version-check
.venv-others/stamp: requirements/others.txt requirements/others-mindspore.txt requirements/others-source.txt
	rm -rf .venv-others
	$(PYTHON) -m venv .venv-others
	$(OTHERS) install --quiet --no-deps --no-compile -r requirements/others.txt
	$(OTHERS) install --quiet --no-deps --no-compile --target .venv-others/mindspore -r requirements/others-mindspore.txt
	$(OTHERS) download --quiet --no-deps --no-build-isolation --require-hashes -d .venv-others/source \
		-r requirements/others-source.txt
	tar -xzf .venv-others/source/pb1-detectron2-0.6.tar.gz --strip-components=1 \
		-C "$$(.venv-others/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		pb1-detectron2-0.6/detectron2 pb1-detectron2-0.6/pb1_detectron2.egg-info
	@touch $@
