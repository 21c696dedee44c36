#!/bin/bash
#SBATCH --job-name=vertexq
#SBATCH --array=0-7
#SBATCH --cpus-per-task=4
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
# One checkpoint by an array of eight tasks, in a folder that all nodes have:
#   vertexq plan Llama-3.2-1B -o Llama-3.2-1B-4bit > plan.json
#   job=$(sbatch --parsable slurm.sh plan.json)
#   sbatch --dependency=afterok:$job --wrap 'vertexq finish plan.json'
# Plan on a node of the kind that works (srun vertexq plan …): a plan is for one kind of processor.
# A task that failed is done again by itself, as sbatch --array=3 slurm.sh plan.json: --shards says that it is one of eight.
# Two minutes before its time is up it is told to end (--signal), and keeps what it has done. exec: the signal must reach vertexq, not bash.
exec vertexq work "$1" --shards 8 --threads "${SLURM_CPUS_PER_TASK:-4}"
