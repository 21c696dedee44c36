#!/usr/bin/env bash
# Runs a command where there is neither a compiler, nor CMake, nor OpenBLAS: their files are covered within a mount namespace of its own.
# Needs root, and a kernel that allows it: `bare.sh true` fails where it does not.
set -euo pipefail
if [ "${VERTEXQ_BARE:-}" != 1 ]; then
  export VERTEXQ_BARE=1
  exec unshare --mount bash "$0" "$@"
fi
cover() {
  mount --bind /dev/null "$1"
}
IFS=: read -ra folders <<<"$PATH"
for name in cmake ctest ccmake make ninja cc c++ gcc g++ clang clang++ gfortran ld pkg-config; do
  for folder in "${folders[@]}" /usr/bin /usr/local/bin; do
    [ -f "$folder/$name" ] && [ -s "$folder/$name" ] && cover "$folder/$name"
  done
done
while IFS= read -r file; do
  [ -s "$file" ] && cover "$file"
done < <(find /usr/lib /usr/lib64 /usr/local/lib -name 'libopenblas*' -o -name 'liblapack*' -o -name 'libblas*' -o -name 'libgfortran*' -o -name openblas_config.h 2>/dev/null)
exec "$@"
