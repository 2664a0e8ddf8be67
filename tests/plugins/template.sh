#!/bin/sh
# The template plugin is what a third party starts from: installs the SDK into a folder of its own,
# copies the template out of the tree, builds it with pkg-config alone and checks it with its cases.
set -eu
srcdir=${srcdir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${MAKE:-make}" --no-print-directory install-pixshiftincludeHEADERS install-pkgconfigDATA \
    DESTDIR="$work/root" >"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
pc=$(find "$work/root" -name pixshift-plugin.pc)
test -n "$pc"
cp -R "$srcdir/plugins/template" "$work/template"
chmod -R u+w "$work/template"
cd "$work/template"
env -u CFLAGS -u LDFLAGS -u MAKEFLAGS -u MFLAGS PKG_CONFIG_PATH="$(dirname "$pc")" \
    PKG_CONFIG_SYSROOT_DIR="$work/root" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 make ai_example.so
# Nothing but the entry point may be exported, nothing but libc be needed.
exported=$(nm -D --defined-only ai_example.so | awk '{print $3}')
test "$exported" = pixshift_plugin || { echo "exports: $exported"; exit 1; }
needed=$(readelf -d ai_example.so | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
test "$needed" = libc.so.6 || { echo "needs: $needed"; exit 1; }
cd "$OLDPWD"
tests/plugins/check_plugin "$work/template/ai_example.so" "$work/template/cases"
# A wrong expectation must be noticed.
sed -i 's/painter-1/painter-9/' "$work/template/cases/generate.json"
if tests/plugins/check_plugin "$work/template/ai_example.so" "$work/template/cases" \
        >"$work/report"; then
    echo "a case that does not fit passed"
    exit 1
fi
grep -q '^FAIL generate.json: exchange 1: the body is {"model":"painter-1"' "$work/report"
