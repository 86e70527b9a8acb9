# Sourced by the scripts beside it. Sets ROOT and moves there; START is the folder in which the script was called.
set -euo pipefail
START=$PWD
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
ENVIRONMENT=build/deps/environment.sh

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Prints the comment at the top of the calling script, which is its help.
help_of() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"; }

# The commit of the sources, as the build stamps it.
commit() {
  local id
  id=$(git rev-parse HEAD 2>/dev/null) || { echo unknown; return; }
  git diff --quiet HEAD -- 2>/dev/null || id+=-dirty
  echo "$id"
}

# locked COMMAND...: runs a command while no other script of this checkout sets up or builds, so that two first uses do not
# write the same files. The lock ends with the process.
locked() {
  if [ -n "${SMPO_BUILD_LOCK:-}" ] || ! command -v flock >/dev/null; then "$@"; return; fi
  mkdir -p build
  (
    exec 9>build/.lock
    flock -n 9 || { say "${0##*/}: waiting for another set-up or build in this checkout"; flock 9; }
    export SMPO_BUILD_LOCK=held
    # Programs that the command leaves running do not keep the lock.
    "$@" 9>&-
  )
}

# tools/setup, then its findings: JAVA_HOME, SMPO_LIBTORCH and, with --cuda, SMPO_CUDA_ROOT.
set_up() {
  tools/setup --quiet "$@"
  # shellcheck source=/dev/null
  source "$ENVIRONMENT"
}

# build_native DIR [TARGET ...] -- [CMAKE OPTION ...]
build_native() {
  local dir=$1 targets=() log
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do targets+=("$1"); shift; done
  [ $# -gt 0 ] && shift
  mkdir -p "$dir"
  log=$dir/build.log
  # Configure when something that configuring reads has changed; ninja does it for CMakeLists.txt by itself.
  local wanted="$SMPO_LIBTORCH ${SMPO_CUDA_ROOT:-} $*"
  if [ ! -f "$dir/build.ninja" ] || [ "$(cat "$dir/.configured" 2>/dev/null)" != "$wanted" ]; then
    say "configuring $dir"
    local launcher=()
    command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    cmake -S . -B "$dir" -G Ninja -DSMPO_LIBTORCH="$SMPO_LIBTORCH" -DSMPO_CUDA_ROOT="${SMPO_CUDA_ROOT:-}" \
      "${launcher[@]}" "$@" >"$log" 2>&1 ||
      { cat "$log" >&2; die "CMake failed in $dir"; }
    echo "$wanted" >"$dir/.configured"
  fi
  if [ -t 2 ]; then
    ninja -C "$dir" "${targets[@]}" >&2 || die "the native build failed in $dir"
  else
    ninja -C "$dir" "${targets[@]}" >"$log" 2>&1 || { grep -v '^\[' "$log" | head -100 >&2; die "the native build failed in $dir"; }
  fi
}

# Runs Maven and prints errors and warnings only, without escape codes.
maven() {
  mvn -B -ntp -Dstyle.color=never -Dsmpo.commit="$(commit)" "$@" 2>&1 |
    sed 's/\x1b\[[0-9;]*m//g' |
    { grep -v -e '^\[INFO\]' -e sun.misc.Unsafe -e 'terminally deprecated' -e AbstractFuture -e '^$' || true; }
}
