#!/bin/sh
# Put reaperd on a host, or take it away again. `make install` and `make uninstall` call this.
#   PREFIX=/usr/local DESTDIR= PYTHON=/usr/bin/python3 ./install.sh install|uninstall
# Everything that is made is written down in PREFIX/lib/reaperd/installed, directories too; that list is what
# an uninstall follows, and what an upgrade takes away where the new version no longer has it. The
# configuration, the state, and the account for the zombie report are never touched.
set -eu

top=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
python=${PYTHON:-python3}
home=$prefix/lib/reaperd
manifest=$root$home/installed
units="reaperd.service reaperd.socket reaperd@.service reaperd-zombies.service reaperd-zombies.timer"

complain() {
  echo "install.sh: $*" >&2
  exit 1
}

# folder PATH: make a directory and those above it, and write down which were not there.
folder() {
  [ ! -d "$root$1" ] || return 0
  folder "$(dirname "$1")"
  mkdir "$root$1"
  echo "$1/" >>"$list"
}

# put SOURCE TARGET: write a file with our prefix in place of the usual one.
put() {
  folder "$(dirname "$2")"
  sed "s|/usr/local/bin/|$prefix/bin/|g" "$1" >"$root$2"
  chmod 644 "$root$2"
  echo "$2" >>"$list"
}

# is_running: systemd runs this very root.
is_running() {
  [ -z "$root" ] && [ -d /run/systemd/system ]
}

environment() {
  fresh=$home.new
  rm -rf "$root$fresh"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || complain "needs Python 3.11 or newer"
  "$python" -m venv --without-pip "$root$fresh" || complain "$python cannot make a virtual environment"
  rm -f "$root$fresh"/bin/[Aa]ctivate*
  # By the pip of the checkout: the installed program needs none.
  "$top/.venv/bin/python" -m pip --disable-pip-version-check --python "$root$fresh/bin/python" \
    install --quiet --no-compile "$top" || complain "pip could not install it"
  for script in "$root$fresh"/bin/*; do
    [ -L "$script" ] || sed -i "1s|^#!.*|#!$home/bin/python|" "$script"
  done
  sed -i "/^command = /d" "$root$fresh/pyvenv.cfg"
  "$root$fresh/bin/python" -m compileall -q -s "$root$fresh" -p "$home" "$root$fresh/lib" >/dev/null
}

# The programs of a running daemon come and go by one rename.
swap() {
  rm -rf "$root$home.old"
  [ ! -d "$root$home" ] || mv "$root$home" "$root$home.old"
  mv "$root$home.new" "$root$home"
  rm -rf "$root$home.old"
}

links() {
  folder "$prefix/bin"
  for name in reaperd reaperd-init; do
    [ -e "$root$home/bin/$name" ] || continue
    ln -sfn "$home/bin/$name" "$root$prefix/bin/$name"
    echo "$prefix/bin/$name" >>"$list"
  done
}

completions() {
  reaperd=$root$home/bin/python
  for each in bash:share/bash-completion/completions/reaperd zsh:share/zsh/site-functions/_reaperd \
    fish:share/fish/vendor_completions.d/reaperd.fish; do
    "$reaperd" -m reaperd completion "${each%%:*}" >"$list.completion" 2>/dev/null || continue
    put "$list.completion" "$prefix/${each#*:}"
  done
  rm -f "$list.completion"
}

files() {
  for unit in $units; do
    put "$top/systemd/$unit" "$prefix/lib/systemd/system/$unit"
  done
  put "$top/systemd/user/reaperd@.service" "$prefix/lib/systemd/user/reaperd@.service"
  put "$top/systemd/notify-reload.conf" "$prefix/share/reaperd/notify-reload.conf"
  put "$top/systemd/reaperd.sysusers" "$prefix/lib/sysusers.d/reaperd.conf"
  put "$top/systemd/reaperd.tmpfiles" "$prefix/lib/tmpfiles.d/reaperd.conf"
  for page in "$top"/docs/man/*.[1-8]; do
    put "$page" "$prefix/share/man/man${page##*.}/$(basename "$page")"
  done
}

# take LIST: remove what a list names, deepest first; a directory only where nothing else is in it.
take() {
  sort -r "$1" | while IFS= read -r path; do
    case $path in
      */) rmdir "$root$path" 2>/dev/null || true ;;
      *) rm -f "$root$path" ;;
    esac
  done
}

install_all() {
  [ -x "$top/.venv/bin/python" ] || complain "no virtual environment in the checkout: make dev"
  list=$(mktemp)
  trap 'rm -f "$list" "$list".*' EXIT
  folder "$prefix/lib"
  environment
  [ ! -f "$manifest" ] || cp "$manifest" "$list.before"
  swap
  links
  files
  completions
  if [ -f "$list.before" ]; then
    # What it made then and still has; what it no longer has goes.
    grep '/$' "$list.before" >>"$list" || true
    sort -u "$list" -o "$list"
    grep -vxFf "$list" "$list.before" >"$list.gone" || true
    take "$list.gone"
  fi
  sort -u "$list" >"$manifest"
  if is_running; then
    systemd-sysusers "$prefix/lib/sysusers.d/reaperd.conf"
    systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/reaperd.conf"
    systemctl daemon-reload
  fi
  echo "installed: $prefix/bin/reaperd; next: $prefix/share/man/man8/reaperd.8, docs/how-to/systemd.md"
}

uninstall_all() {
  [ -f "$manifest" ] || complain "nothing is installed under $root$prefix"
  if is_running; then
    systemctl disable --quiet --now reaperd.socket reaperd.service reaperd-zombies.timer || true
    systemctl stop 'reaperd@*.service' || true
  fi
  list=$(mktemp)
  trap 'rm -f "$list"' EXIT
  cp "$manifest" "$list"
  rm -rf "$root$home"
  take "$list"
  if is_running; then
    # Made by the snippet for systemd-tmpfiles; a daemon that runs all the same keeps it.
    rmdir /run/reaperd 2>/dev/null || true
    systemctl daemon-reload
  fi
}

case ${1:-} in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) complain "say install or uninstall" ;;
esac
