#!/usr/bin/env bash
# The project in Docker: build its images, look after the volume, open a shell, run one thing.
#
#   bin/docker.sh build [gpu|cpu|serve] [FLAGS OF docker build]   an image; gpu by default
#   bin/docker.sh shell                                           a shell in it, with the volume
#   bin/docker.sh run COMMAND ...                                 smoke, doctor, train FLAGS, test FLAGS, format CORPUS ...
#   bin/docker.sh app [FLAGS]                                     train what the volume has, and serve it on 127.0.0.1
#   bin/docker.sh stop                                            let the training save, and end it
#   bin/docker.sh volume inspect                                  where the volume is, how large, what is in it
#   bin/docker.sh volume backup FILE.tar                          write all of it into a tar, and check that
#   bin/docker.sh volume restore FILE.tar                         the other way; refuses a volume with files in it
#   bin/docker.sh volume fetch PATH [TO]                          copy a file or folder out, such as checkpoints/first
#   bin/docker.sh volume own UID:GID                              give all of it to a user
#
# First options: --cpu (the cpu image, no GPU), --image NAME, --volume NAME_OR_FOLDER.
# Environment: DOCKER (the program; else docker), DEEPSPEECH_VOLUME (else deepspeech-data), BASE_IMAGE (for build),
#   PORT (for app; else 8000), TRAIN_FLAGS and MODEL (for app: docs/app.md),
#   DEEPSPEECH_RUN_FLAGS (more flags for `docker run`, such as "--memory 8g --cpus 4").
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

docker=${DOCKER:-docker}
volume=${DEEPSPEECH_VOLUME:-deepspeech-data}
container=deepspeech
inside=/DeepSpeech/persistent-data
grace_s=120 # a checkpoint of the default size, and the step before it: docs/environment.md
kind=gpu
image=

say() { printf 'docker.sh: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() {
  sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

need_engine() {
  command -v "$docker" >/dev/null || die "there is no program $docker; install Docker (docs/environment.md)"
  "$docker" info >/dev/null 2>&1 || die "the Docker engine does not answer: is it running, and may this user use it \
(group docker)? \`$docker info\` says more"
}

need_image() {
  "$docker" image inspect "$image" >/dev/null 2>&1 || die "there is no image $image yet: bin/docker.sh build $kind"
}

mount_option() {
  if [[ $volume == */* ]]; then
    mkdir -p "$volume"
    echo "type=bind,source=$(cd -- "$volume" && pwd),target=$inside"
  else
    echo "type=volume,source=$volume,target=$inside"
  fi
}

# gpu_flags: sets `gpus`, or says why there are none. The engine alone knows whether it can: it is asked by trying.
gpu_flags() {
  gpus=()
  [[ $kind == gpu ]] || return 0
  local told
  if told=$("$docker" run --rm --gpus all --entrypoint true "$image" 2>&1); then
    gpus=(--gpus all)
    return 0
  fi
  explain_no_gpu "$told"
  exit 125
}

explain_no_gpu() {
  say "$1"
  case $1 in
    *'could not select device driver'*)
      say 'The engine has no driver for GPUs: install nvidia-container-toolkit on this machine, then'
      say '  sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker'
      ;;
    *nvidia-container-cli*)
      say "nvidia-container-toolkit is installed and finds no working GPU: does nvidia-smi work on this machine?"
      ;;
  esac
  say 'docs/environment.md has the steps. Without a GPU: bin/docker.sh --cpu ...'
}

# on_volume FLAG ... -- COMMAND ...: run a program of the image as root, with the volume and nothing else
on_volume() {
  local flags=()
  while [[ $1 != -- ]]; do
    flags+=("$1")
    shift
  done
  shift
  "$docker" run --rm --network none --user 0:0 --mount "$(mount_option)" "${flags[@]}" --entrypoint "$1" "$image" "${@:2}"
}

# any_image: for work on the volume every image will do
any_image() {
  local candidate
  for candidate in "$image" deepspeech:cpu deepspeech:gpu deepspeech:serve; do
    if "$docker" image inspect "$candidate" >/dev/null 2>&1; then
      image=$candidate
      return 0
    fi
  done
  die 'there is no image yet: bin/docker.sh build'
}

run_container() {
  need_engine
  need_image
  gpu_flags
  local terminal=() more=()
  if [[ -t 0 && -t 1 ]]; then terminal=(--interactive --tty); fi
  read -r -a more <<<"${DEEPSPEECH_RUN_FLAGS:-}"
  exec "$docker" run --rm "${terminal[@]}" "${gpus[@]}" --name "$container-$$" --label "$container=run" \
    --stop-timeout "$grace_s" --mount "$(mount_option)" "${more[@]}" "$image" "$@"
}

# app: published on this machine alone, so that no key is wanted unless one is set
app() {
  local published="--publish 127.0.0.1:${PORT:-8000}:8000 --read-only --tmpfs /tmp"
  published+=" --env TRAIN_FLAGS --env MODEL --env DEEPSPEECH_API_KEY"
  DEEPSPEECH_RUN_FLAGS="$published ${DEEPSPEECH_RUN_FLAGS:-}" run_container app --no_key "$@"
}

build() {
  need_engine
  local target=$kind
  if [[ ${1:-} =~ ^(gpu|cpu|serve)$ ]]; then
    target=$1
    shift
  fi
  local arguments=(--build-arg "VERSION=$(sed -n 's/^VERSION = "\(.*\)"/\1/p' "$root/deepspeech_training/version.py")")
  arguments+=(--build-arg "REVISION=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)")
  [[ -z ${BASE_IMAGE:-} ]] || arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
  DOCKER_BUILDKIT=1 "$docker" build -f "$root/docker/Dockerfile" --target "$target" -t "deepspeech:$target" \
    "${arguments[@]}" "$@" "$root"
}

stop() {
  need_engine
  local running
  running=$("$docker" ps --quiet --filter "label=$container=run")
  [[ -n $running ]] || die 'nothing is running'
  # shellcheck disable=SC2086 # one word for each container
  "$docker" stop --time "$grace_s" $running >/dev/null
  say 'stopped; the same command resumes from the checkpoint'
}

volume_command() {
  local command=${1:-}
  shift || usage
  need_engine
  any_image
  if [[ $command != restore && $volume != */* ]]; then
    "$docker" volume inspect "$volume" >/dev/null 2>&1 || die "there is no volume $volume"
  fi
  case $command in
    inspect)
      [[ $volume == */* ]] || "$docker" volume inspect --format '{{.Name}}: {{.Mountpoint}}' "$volume"
      on_volume -- bash -c "cd $inside && du -sh . && du -sh -- * 2>/dev/null && stat -c 'owner %U (%u:%g), mode %a' ."
      ;;
    backup) backup "$@" ;;
    restore) restore "$@" ;;
    fetch) fetch "$@" ;;
    own)
      [[ ${1:-} =~ ^[0-9]+:[0-9]+$ ]] || die 'volume own UID:GID, both numbers; the program id shows yours'
      on_volume -- chown -R "$1" "$inside"
      ;;
    *) usage ;;
  esac
}

backup() {
  local file=${1:?volume backup FILE.tar}
  [[ ! -e $file ]] || die "$file is there already"
  local part=$file.part
  on_volume -- tar -C "$inside" --numeric-owner -cf - . >"$part" || die "the backup failed; $part is what there is of it"
  # Every file once more, against the tar: a training that continues meanwhile would make it worthless.
  on_volume --interactive -- tar -C "$inside" --numeric-owner -df - <"$part" >&2 ||
    die "the volume is not what $part has: is something training? Stop it (bin/docker.sh stop), then try again"
  mv -- "$part" "$file"
  say "$file: $(tar -tf "$file" | wc -l) files and folders, compared with the volume"
}

restore() {
  local file=${1:?volume restore FILE.tar}
  [[ -f $file ]] || die "$file: no such file"
  tar -tf "$file" >/dev/null || die "$file is not a whole tar"
  [[ $volume == */* ]] || "$docker" volume create "$volume" >/dev/null
  local found
  found=$(on_volume -- find "$inside" -type f ! -path "$inside/README.md" -print -quit)
  [[ -z $found ]] || die "the volume $volume has files already: name a new one with --volume"
  on_volume --interactive -- tar -C "$inside" --numeric-owner -xpf - <"$file"
  on_volume --interactive -- tar -C "$inside" --numeric-owner -df - <"$file" >&2 || die 'what was restored differs from the tar'
  say "the volume $volume is as $file has it"
}

fetch() {
  local path=${1:?volume fetch PATH [TO]} to=${2:-.}
  mkdir -p "$to"
  on_volume -- tar -C "$inside" -cf - -- "${path#persistent-data/}" | tar -C "$to" --no-same-owner -xf -
  say "$to/${path#persistent-data/}"
}

while (($# > 0)); do
  case $1 in
    --cpu) kind=cpu ;;
    --image)
      image=${2:?--image NAME}
      shift
      ;;
    --volume)
      volume=${2:?--volume NAME_OR_FOLDER}
      shift
      ;;
    *) break ;;
  esac
  shift
done
: "${image:=deepspeech:$kind}"
(($# > 0)) || usage
command=$1
shift
case $command in
  build) build "$@" ;;
  shell) run_container shell "$@" ;;
  run) run_container "$@" ;;
  app) app "$@" ;;
  stop) stop ;;
  volume) volume_command "$@" ;;
  *) usage ;;
esac
