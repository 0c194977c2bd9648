#!/usr/bin/env bash
# Everything that needs a GPU, in one go and in at most six minutes, on a machine that has no network.
#
# usage: bash benchmarks/gpu.sh WHEELS OUT [SECONDS]    measure; 360 seconds by default, installing included
#        bash benchmarks/gpu.sh --pack FOLDER           before that, where there is a network: what must be carried
#
# The machine needs python3 with pip, torch for CUDA, onnx, click, numpy, pillow and safetensors, and an NVIDIA driver.
# WHEELS holds what --pack has made, all loads together. In OUT, each written as soon as it is known:
#
#   summary.txt        which step took how long and how it ended
#   machine.txt        nvidia-smi, and what python3 there has
#   doctor.txt         pvae-zoo doctor
#   tests.txt          tests/gpu, a line a test
#   RESULTS-cuda.md    the tables, written anew after each row; tables.txt has the traceback of a row that failed
#
# A step that fails or runs out of its time does not stop the next. DRY=1 goes the same way on a machine without a GPU,
# with the packages that python3 has and two digits in place of all models.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [[ ${1-} == --pack ]]; then
  exec python3 "$here/gpu_pack.py" "${@:2}"
fi
if [[ $# -lt 2 || $# -gt 3 || ! -d $1 || ! ${3-360} =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash benchmarks/gpu.sh WHEELS OUT [SECONDS], where WHEELS is a folder" >&2
  exit 2
fi
mkdir -p "$2"
wheels=$(cd "$1" && pwd) out=$(cd "$2" && pwd) budget=${3-360} dry=${DRY-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/.."
export PYTHONUNBUFFERED=1
failed=0 ended=0
: >"$out/summary.txt"

say() { echo "$1" | tee -a "$out/summary.txt"; }

# step NAME SECONDS COMMAND...: run it within that time and what is left of the whole; its output goes to OUT/NAME.txt.
step() {
  local name=$1 most=$2 began=$SECONDS status=0
  shift 2
  if ((most > budget - SECONDS)); then most=$((budget - SECONDS)); fi
  if ((most < 1)); then
    say "$name: not reached"
    failed=1 ended=1
    return
  fi
  # SIGINT, for which pytest prints what it has.
  timeout --signal=INT --kill-after=5 "$most" "$@" >"$out/$name.txt" 2>&1 || status=$?
  ended=$status
  if ((status)); then failed=1; fi
  if ((status == 124 || status == 137)); then
    say "$name: cut after $((SECONDS - began)) s"
  else
    say "$name: ended with $status after $((SECONDS - began)) s"
  fi
}

# Everything that was carried is whole, and the parts of what was too large are put together.
join_parts() {
  if [[ ! -f $wheels/SHA256SUMS ]]; then
    [[ -n $dry ]] || { echo "gpu.sh: $wheels holds no SHA256SUMS: make it with gpu.sh --pack" >&2 && exit 1; }
    return
  fi
  local bad first
  bad=$(cd "$wheels" && sha256sum --check --quiet SHA256SUMS 2>/dev/null | cut -d: -f1 | tr '\n' ' ') || true
  [[ -z $bad ]] || { echo "gpu.sh: damaged or missing in $wheels, to be carried again: $bad" >&2 && exit 1; }
  for first in "$wheels"/*.part-00; do
    [[ -e $first ]] || continue
    cat "${first%00}"* >"$work/$(basename "${first%.part-00}")"
  done
  (cd "$work" && sha256sum --check --quiet --strict "$wheels/SHA256SUMS.joined")
  say "carried: whole"
}

# An environment of its own, and in it links to all other packages of python3: what was carried comes first, and no
# other onnxruntime is seen. (--system-site-packages would show the system's packages, and not those of a python3 that
# is of an environment itself; and pip would take what it finds there for installed.)
# shellcheck disable=SC2329  # `step install` calls it
set_up() {
  ln -s "$wheels"/*.whl "$work"
  python3 -m venv --without-pip "$work/venv"
  python3 -m pip --disable-pip-version-check --python "$work/venv/bin/python" install --no-index --no-deps --no-compile \
    "$work"/*.whl
  python3 "$here/gpu_links.py" "$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
}

join_parts
step machine 20 bash -c 'nvidia-smi || true; python3 -m pip --disable-pip-version-check list'
if [[ -n $dry ]]; then
  python=$(command -v python3) how=(--device cpu --quick)
  export OMP_NUM_THREADS=1 # others may be at work here
else
  python=$work/venv/bin/python how=(--device cuda)
  export -f set_up
  export here work wheels
  step install 120 bash -euo pipefail -c set_up
  if ((ended)); then
    tail -n 3 "$out/install.txt" >&2
    exit 1
  fi
fi
step doctor 60 "$python" -m pvae_zoo doctor --offline
# The plugins of other packages there may be for another pytest, options too, and a warning of another PyTorch is no failure.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTEST_ADDOPTS=
step tests $((budget * 36 / 100)) "$python" -m pytest -p pytest_timeout -p no:cacheprovider -W default -v -rs \
  --durations=10 tests/gpu
left=$((budget - SECONDS))
# What takes long ends itself; the margin is for what does not hear.
step tables "$left" "$python" benchmarks/gpu_tables.py "${how[@]}" --seconds "$((left > 10 ? left - 5 : left))" \
  --out "$out/RESULTS-cuda.md"
exit "$failed"
