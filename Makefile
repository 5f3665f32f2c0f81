# make demo    a rainy drive through the real node; ends with a table, a cleaned bag and an HTML report
# make check   lint, types and the quick tests
# make test    all tests
# make lint    ruff and mypy
# make clean   remove what these made
#
# The first run makes a virtual environment in .venv and needs the network; later runs do not.
# Another Python: make demo PYTHON=python3.12
# ROS 2 Kilted in place of Jazzy, after make clean: make test ROS=ros-kilted

PYTHON ?= python3
ROS ?= ros

# Tests that start no node, no training and no process; those of the networks, which export, take too long.
QUICK = test/runtime test/engine test/report test/rain test/test_layers.py test/test_manifest.py test/test_tasks.py

# More at once than there are cores: many tests wait, for nodes, timeouts and processes. In the order of the folders, as
# the longest are in the first ones; by default files of few tests, which take longest, come last.
AT_ONCE = $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 2)')

# The environments hold a ROS 2 of their own, from wheels: one that is sourced must not mix with it.
unexport AMENT_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE

# uv installs in a quarter of pip's time, but reads nothing of pip's settings: it is told of folders of wheels and to
# trust the certificates that the system trusts; where it fails, as behind an index of one's own, pip does it.
export UV_SYSTEM_CERTS ?= 1
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))

EDITABLE = --config-settings editable_mode=compat

.PHONY: demo check test lint clean

demo: .venv/demo/.installed
	.venv/demo/bin/derain demo

test: .venv/test/.installed
	.venv/test/bin/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

check: lint
	.venv/test/bin/python -m pytest -q -n auto --dist loadfile $(QUICK)

lint: .venv/test/.installed
	.venv/test/bin/python -m ruff check
	.venv/test/bin/python -m ruff format --check
	.venv/test/bin/python -m mypy --num-workers 2

clean:
	rm -rf .venv derain_demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

.venv/demo/.installed: EXTRAS = $(ROS),cpu,replay
.venv/test/.installed: EXTRAS = $(ROS),cpu,replay,train,slam,test,lint

.venv/%/.installed: setup.py pyproject.toml constraints.txt
	@echo "Installing derain_ros[$(EXTRAS)] into $(@D); this happens once"
	$(PYTHON) -m venv $(@D)
	@# Packages of ROS 2 are pinned for Jazzy; Kilted's wheels name the versions of each other.
	@grep -v $(if $(filter ros,$(ROS)),'^$$','^ros-') constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(@D)/constraints.txt uv
	@# By a path, not by a finder: else the folder that this one lies in hides the package from what runs there.
	$(@D)/bin/uv pip install --python $(@D)/bin/python -c $(@D)/constraints.txt $(EDITABLE) -e '.[$(EXTRAS)]' \
	    || $(@D)/bin/python -m pip install -c $(@D)/constraints.txt $(EDITABLE) -e '.[$(EXTRAS)]'
	@touch $@
