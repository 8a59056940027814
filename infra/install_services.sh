#!/usr/bin/env bash
# Installs what the tests talk to and PyPI does not have: Azurite, Microsoft's emulator of Azure Blob Storage. It needs Node.js 18 or newer with npm.
#
#   infra/install_services.sh [FOLDER]     FOLDER: .services unless given; the tests look there, or where EMBERMILL_SERVICES says
#
# The versions and the hash of every package are those of infra/services/package-lock.json; which registry is asked is npm's own configuration.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.services}

if ! command -v npm >/dev/null; then
  echo "install_services.sh: npm was not found on the PATH; install Node.js 18 or newer" >&2
  exit 2
fi
mkdir -p "$folder"
if [ -e "$folder/node_modules" ] && cmp -s infra/services/package-lock.json "$folder/package-lock.json"; then
  exit 0
fi
cp infra/services/package.json infra/services/package-lock.json "$folder/"
npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel error
