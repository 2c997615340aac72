#!/usr/bin/env bash
# Build Citus into a folder of the cache, with the PostgreSQL that it runs in: unpacked Debian packages, of which
# nothing is installed. It takes four minutes of one core.
#   build_citus.sh SRC [FOLDER]   SRC: a checkout of citusdata/citus (v13.2.2 was run; it is changed)
#                                 FOLDER: by default /var/cache/romancy/engines/citus
set -euo pipefail
src=$(cd "$1" && pwd)
folder=${2:-/var/cache/romancy/engines/citus}
major=15
mkdir -p "$folder/debs"
cd "$folder/debs"
apt-get download "postgresql-$major" "postgresql-client-$major" "postgresql-server-dev-$major" libpq5 libpq-dev \
    libkrb5-dev krb5-multidev comerr-dev libpam0g-dev libxml2-dev libzstd1 libzstd-dev
rm -rf "$folder/pg.new"
for package in *.deb; do dpkg-deb --extract "$package" "$folder/pg.new"; done
rm -rf "$folder/debs" "$folder/pg"
mv "$folder/pg.new" "$folder/pg"
chmod -R a+rX "$folder"
cd "$src"
if grep -rqs have_createdb_privilege "$folder/pg/usr/include/postgresql/$major/server"; then
    # Newer minor versions of PostgreSQL declare this function themselves.
    python3 - <<'PY'
import pathlib
import re

file = pathlib.Path("src/include/pg_version_compat.h")
text = file.read_text()
own = r"static inline bool\nhave_createdb_privilege\(void\)\n\{.*?\n\}\n"
file.write_text(re.sub(own, "", text, count=1, flags=re.DOTALL))
PY
fi
headers="-I$folder/pg/usr/include -I$folder/pg/usr/include/mit-krb5 -I$folder/pg/usr/include/postgresql"
./configure PG_CONFIG="$folder/pg/usr/lib/postgresql/$major/bin/pg_config" CPPFLAGS="$headers" \
    LDFLAGS="-L$(dirname "$(find "$folder/pg/usr/lib" -name libpq.so | head -1)")" \
    --without-libcurl --without-lz4 > configure.log
make -s -j2 extension with_llvm=no
make -s install-all with_llvm=no
