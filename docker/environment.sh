# Sourced by the entrypoint and by interactive shells of an image: what programs must be told in a container.
# shellcheck shell=bash

# A user that only `docker run -u` knows has no home, and on a read-only root nobody has.
if [[ ! -w ${HOME:-/} || ${HOME:-/} == / ]]; then
  HOME=${TMPDIR:-/tmp}/home-$(id -u)
  mkdir -p "$HOME" 2>/dev/null || HOME=/
  export HOME
fi
if ! id -un >/dev/null 2>&1; then
  USER=user-$(id -u)
  export USER LOGNAME=$USER
fi

# Caches are of value: the GPU's driver compiles for minutes. In the volume if it can be written and has 64 MB to spare.
caches=/DeepSpeech/persistent-data/caches
if ! mkdir -p $caches 2>/dev/null || [[ ! -w $caches ]] || (($(df --output=avail -k $caches | tail -n 1) < 65536)); then
  caches=$HOME/.cache
fi
: "${XDG_CACHE_HOME:=$caches}" "${MPLCONFIGDIR:=$caches/matplotlib}"
: "${CUDA_CACHE_PATH:=$caches/cuda}" "${CUDA_CACHE_MAXSIZE:=4294967296}"
export XDG_CACHE_HOME MPLCONFIGDIR CUDA_CACHE_PATH CUDA_CACHE_MAXSIZE
unset caches

# OpenBLAS and OpenMP would start a thread for each core of the machine, whatever the container may use.
if [[ -z ${OMP_NUM_THREADS:-} ]]; then
  OMP_NUM_THREADS=$(python -S -c 'import sys; sys.path.insert(0, "/DeepSpeech"); from deepspeech_training.machine.resources import usable_cores; print(usable_cores())')
  export OMP_NUM_THREADS OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS
fi
