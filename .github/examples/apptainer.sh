#!/bin/bash
# Segment a folder with Apptainer, as the user who calls it and without network or home:
#
#   apptainer build htcnns.sif docker-daemon:htcnns:latest
#   apptainer.sh in out reports [FLAGS of `htcnns segment`]
set -euo pipefail

input=${1:?folder of cases} output=${2:?folder for masks} reports=${3:?folder for reports}
shift 3
mkdir -p "$output" "$reports"
input=$(realpath "$input") output=$(realpath "$output") reports=$(realpath "$reports") nv=()
[[ -e /dev/nvidiactl ]] && nv=(--nv)
exec apptainer run --containall --no-home --net --network none "${nv[@]}" \
  --bind "$input:/input:ro" --bind "$output:/output" --bind "$reports:/reports" \
  "${HTCNNS_SIF:-htcnns.sif}" --report /reports "$@"
