# The words of every day; `make` alone lists them.

PYTHON ?= python3
OUT ?= demo-out
ROUNDS ?= 300
BIN := .venv/bin
FAST := not slow and not gpu and not image
CASES := $(if $(DATA),--data="$(DATA)")

.DEFAULT_GOAL := help
.PHONY: help setup demo check test fuzz image image-test bench bench-scores bench-cluster bench-training train train-demo niivue clean need-engine need-data

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/.done ## .venv with every package at its pinned version

demo: setup ## a synthetic case into demo-out; your own cases with IN=dir OUT=dir
	$(BIN)/htcnns $(if $(IN),segment "$(IN)" "$(OUT)" --previews "$(patsubst %/,%,$(OUT))-previews",demo "$(OUT)")

check: setup ## format, lint, types, house rules and the fast tests, in under two minutes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "$(FAST)" # a thread for each of two processes

test: setup .work/nnunet/.done ## every test; DATA=dir adds the real cases, IMAGE=1 the image (needs a Docker engine), CHECKED=1 leaves out what `make check` has run
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(CASES) $(if $(CHECKED),--checked) --ignore tests/real --ignore tests/container
	$(BIN)/pytest $(CASES) $(if $(IMAGE),,-m "not image") tests/real tests/container # with every core for each case

fuzz: setup ## hostile scans, weights and folders, ROUNDS=300 of each kind, a tenth of a second each, and kills
	$(BIN)/pytest tests/hostile tests/runs/test_kill.py -n 2 --rounds "$(ROUNDS)"

image: need-engine ## the Docker image, called htcnns
	docker build --network host --tag htcnns .

image-test: need-engine setup ## builds the image and runs it as every challenge does; DATA=dir adds the real cases
	$(BIN)/pytest $(if $(DATA),--data="$(DATA)") -m image

bench: need-data setup .work/nnunet/.done ## where the time of a batch goes, and how nnU-Net compares, on DATA=dir
	$(BIN)/python tests/bench/bench_segment.py --data "$(DATA)"
	$(BIN)/python tests/bench/bench_nnunet.py --data "$(DATA)" --nnunet .work/nnunet

bench-scores: need-data setup ## how fast masks are scored, on DATA=dir
	$(BIN)/python tests/bench/bench_scores.py --data "$(DATA)"

bench-cluster: need-data setup ## what Ray costs beside a plain batch, on DATA=dir
	$(BIN)/python tests/bench/bench_cluster.py --data "$(DATA)"

bench-training: setup ## what a training step costs beside its bare passes, on packed cases in CACHE=dir
	@test -n "$(CACHE)" || { echo "make: this needs packed cases; name their folder with CACHE=dir" >&2; exit 1; }
	$(BIN)/python tests/bench/bench_training.py --cache "$(CACHE)"

train: setup ## three members on synthetic HEADS=dir, then on PACKS="dir dir", into .work/train; SOURCE="data, terms"; rules TUNED=dir; hours
	@test -n "$(PACKS)" -a -n "$(HEADS)" -a -n "$(SOURCE)" || { echo "make: this needs PACKS=, HEADS= and SOURCE=" >&2; exit 1; }
	$(BIN)/htcnns train $(HEADS) --recipe synthetic --work .work/train/synthetic --out .work/train/start --source "$(SOURCE)"
	$(BIN)/htcnns train $(PACKS) $(HEADS) --from .work/train/start --work .work/train/compact --out .work/train/weights --source "$(SOURCE)" $(if $(TUNED),--tuned "$(TUNED)")

train-demo: setup ## trains, cross-validates and segments with a few phantoms, to see that training works here; minutes
	$(BIN)/htcnns recipes show demo
	$(BIN)/htcnns synthesise 3 .work/demo/cases
	$(BIN)/htcnns pack .work/demo/cases .work/demo/packs --labels brats2023
	$(BIN)/htcnns train .work/demo/packs --recipe demo --work .work/demo/fit --out .work/demo/weights --source "phantoms"
	$(BIN)/htcnns cv .work/demo/packs --recipe demo --folds 2 --work .work/demo/folds --out .work/demo/cv --source "phantoms"
	$(BIN)/htcnns tune .work/demo/cv --out .work/demo/rules
	$(BIN)/htcnns train .work/demo/packs --recipe demo --work .work/demo/tuning --out .work/demo/tuned --source "phantoms" --from .work/demo/weights --steps 10 --tuned .work/demo/rules
	$(BIN)/htcnns segment .work/demo/cases .work/demo/masks --weights .work/demo/tuned --again
	@echo "curves in .work/demo/fit/tiny/curves.png, scores in .work/demo/cv, masks in .work/demo/masks"

niivue: ## the viewer's drawing library from npm into the package again, as pinned in .github/vendor_niivue.py (needs npm)
	$(PYTHON) .github/vendor_niivue.py

clean: ## removes what can be made again in minutes; .venv, image and training stay
	rm -rf build dist demo-out *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find entrypoint.py htcnns tests -name __pycache__ -prune -exec rm -rf {} +

# setuptools comes first because the project is built without isolation, so that its version is pinned too.
.venv/.done: pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make setup: $(PYTHON) is not Python 3.11 or later with venv; install it or name one: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint .constraints.txt setuptools
	$(BIN)/pip install --quiet --constraint .constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

# nnU-Net's trainer and predictor and what they import, for the bench and the tests of imports alone, beside our own
# packages, which stay as they are pinned.
.work/nnunet/.done: tests/bench/nnunet.txt .venv/.done
	$(BIN)/pip install --quiet --no-deps --target .work/nnunet --requirement tests/bench/nnunet.txt
	@touch $@

need-engine:
	@docker info >/dev/null 2>&1 || \
	    { echo "make: no Docker engine answers; install Docker and start it, then try again" >&2; exit 1; }

need-data:
	@test -n "$(DATA)" || { echo "make: this needs real cases; name their folder with DATA=dir" >&2; exit 1; }
