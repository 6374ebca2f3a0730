#!/bin/bash
# Segment an archive on a Slurm cluster. Each task of the array does its share of the cases; a task that is started twice,
# or once more after its time was up, does no case again. Exit code 7 means that some cases failed: see their reports.
#
#   sbatch slurm-array.sh /data/archive /data/masks /data/reports [FLAGS of `htcnns segment`]
#
# To do shards 2 and 5 of eight once more: HTCNNS_SHARDS=8 sbatch --array=2,5 slurm-array.sh …
#
# It calls `htcnns` from PATH, or the image that HTCNNS_SIF names (apptainer build htcnns.sif docker-daemon:htcnns:latest).
#SBATCH --job-name=htcnns
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=6G
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

input=${1:?folder of cases} output=${2:?folder for masks} reports=${3:?folder for reports}
shift 3
mkdir -p "$output" "$reports"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

run=(htcnns)
if [[ -n ${HTCNNS_SIF:-} ]]; then
  input=$(realpath "$input") output=$(realpath "$output") reports=$(realpath "$reports") nv=()
  [[ -e /dev/nvidiactl ]] && nv=(--nv)
  run=(apptainer run --containall --no-home --env "OMP_NUM_THREADS=$OMP_NUM_THREADS" "${nv[@]}"
    --bind "$input:$input:ro" --bind "$output" --bind "$reports" "$HTCNNS_SIF" htcnns)
fi

# Shards count from 0 whatever the array does: --array=1-8 and --array=0-14:2 are eight shards too. HTCNNS_SHARDS names
# their number where the array holds only some of them.
shards=${HTCNNS_SHARDS:-$SLURM_ARRAY_TASK_COUNT} shard=$SLURM_ARRAY_TASK_ID
if [[ -z ${HTCNNS_SHARDS:-} ]]; then
  if (((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN) / SLURM_ARRAY_TASK_STEP + 1 != shards)); then
    echo "The array has gaps: set HTCNNS_SHARDS to the number of shards, whose numbers the tasks then are." >&2
    exit 2
  fi
  shard=$(((shard - SLURM_ARRAY_TASK_MIN) / SLURM_ARRAY_TASK_STEP))
fi
exec srun "${run[@]}" segment "$input" "$output" --shard "$shard/$shards" --report "$reports" \
  --log "$reports/shard-$shard.jsonl" --time-limit 1800 --on-unclear fail "$@"
