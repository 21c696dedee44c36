#!/bin/sh
# Runs the commands of kubernetes.yaml and slurm.sh on one machine as several would: each process has its own mounts and its own network
# (none), and /shared is the one folder that they have in common. Two workers are killed, and started again. As root:
#   examples/cluster/try.sh <folder of a checkpoint>
set -e
here=$(cd "$(dirname "$0")" && pwd)
checkpoint=$(realpath "$1")
shared=$(mktemp -d)
trap 'rm -rf "$shared"; rmdir /shared 2>/dev/null || true' EXIT
mkdir -p "$shared/bin" /shared
printf '#!/bin/sh\nexec node %s/dist/cli/main.js "$@"\n' "$(realpath "$here/../..")" > "$shared/bin/vertexq"
chmod +x "$shared/bin/vertexq"
cp -a "$checkpoint" "$shared/Llama-3.2-1B"

# host <command…>: does it in namespaces of its own, by exec all along, so that signals reach it.
host() {
  # shellcheck disable=SC2016
  exec unshare --mount --net sh -ec 'mount --bind "$0" /shared; mount -t tmpfs none /tmp; cd /shared; PATH=/shared/bin:$PATH exec "$@"' "$shared" "$@"
}
# of <step>: the command of a Job, one word a line.
of() { sed -n "/name: vertexq-$1,/,/command:/s/.*command: //p" "$here/kubernetes.yaml" | tr "'" '"' | node -p 'JSON.parse(require("fs").readFileSync(0)).join("\n")'; }
# In the background all of these are one process after the other, so that $! is the worker itself.
job() {
  IFS='
'
  # shellcheck disable=SC2046
  host $(of "$1")
}
kubernetes() { export JOB_COMPLETION_INDEX="$1"; job work; }
slurm() { export SLURM_ARRAY_TASK_ID="$1" SLURM_CPUS_PER_TASK=1; host bash slurm.sh plan.json; }
# all <worker>: the parts 0 to 7, of which 2 and 5 are killed while they work, and 3 is done twice at once; then those two again.
all() {
  workers=
  for index in 0 1 2 3 3 4 5 6 7; do
    $1 $index & worker=$!
    workers="$workers $worker"
    case $index in 2 | 5)
      # When it has opened the input, and a little later.
      while kill -0 $worker 2>/dev/null && ! ls -l /proc/$worker/fd 2>/dev/null | grep -q safetensors; do sleep 0.05; done
      sleep 0.2
      kill -9 $worker 2>/dev/null && echo "killed $index" || echo "$index had ended" ;;
    esac
  done
  for worker in $workers; do wait "$worker" || true; done
  for index in 2 5; do ($1 $index); done
}

cp "$here/slurm.sh" "$shared"
(host vertexq quantize Llama-3.2-1B -o whole --quiet)
for worker in kubernetes slurm; do
  echo "== $worker"
  (job plan) 2>&1 | tail -1
  all $worker 2>&1 | grep -v 'MB of'
  (job finish) 2>&1 | tail -1
  diff -r "$shared/whole" "$shared/Llama-3.2-1B-4bit"
  echo "$worker: the bytes of one process"
  rm -r "$shared/Llama-3.2-1B-4bit"
done
