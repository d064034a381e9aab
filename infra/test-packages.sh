#!/usr/bin/env bash
# Debian packages that single tests want: a browser, CJK fonts, the stock `age` and `openssl` commands.
# Installed where we may (root on Debian); otherwise those tests say why they did not run.
set -uo pipefail
wanted=()
command -v chromium >/dev/null || wanted+=(chromium)
command -v age >/dev/null || wanted+=(age)
command -v openssl >/dev/null || wanted+=(openssl)
fc-list 2>/dev/null | grep -qi 'noto.*cjk' || wanted+=(fontconfig fonts-noto-cjk)
[ ${#wanted[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed (no root): ${wanted[*]}; the tests that want them will say so" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${wanted[@]}"; } >/dev/null 2>&1 ||
  echo "could not install ${wanted[*]}; the tests that want them will say so" >&2
exit 0
