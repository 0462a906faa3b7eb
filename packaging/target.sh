# Sourced by whatever builds for a musl target: which compilers that takes, with what to install where one is missing.

needs() {
  command -v "$1" >/dev/null || { echo "$0: $1 is missing: apt-get install $2" >&2; exit 1; }
}

# use_target TARGET FLAGS: prepares `cargo build --target TARGET`; C files are compiled with FLAGS, too.
use_target() {
  local target=$1 flags=$2
  local own=$(uname -m)-unknown-linux-musl processor=${target%%-*} name=${target//-/_}
  if [[ $target == "$own" ]]; then
    needs musl-gcc musl-tools
    export "CC_$name=musl-gcc"
  elif [[ $processor == aarch64 ]]; then
    # GCC for that processor, with musl as its C library.
    local compiler=aarch64-linux-gnu-gcc specs=/usr/lib/aarch64-linux-musl/musl-gcc.specs
    needs "$compiler" gcc-aarch64-linux-gnu
    [[ -e $specs ]] || {
      echo "$0: musl is missing: dpkg --add-architecture arm64; apt-get update; apt-get install musl-dev:arm64" >&2
      exit 1
    }
    flags="-specs=$specs $flags"
    local linker=CARGO_TARGET_${name^^}_LINKER
    export "CC_$name=$compiler" "AR_$name=aarch64-linux-gnu-ar" "$linker=$compiler"
  else
    echo "$0: TARGET is $own or aarch64-unknown-linux-musl, not $target" >&2
    exit 2
  fi
  export "CFLAGS_$name=$flags"
  # Without rustup the tool chain must have it already.
  if command -v rustup >/dev/null; then rustup target add "$target" 2>/dev/null; fi
}
