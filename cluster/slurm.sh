#!/usr/bin/env bash
# One tuning job on Slurm: sbatch cluster/slurm.sh job.yaml runs/cafe
# Change the lines marked CHANGE. If the run exists, it is resumed, so the same command continues it
# after a time limit. The folders must be on storage that all nodes share. Nodes with GPUs need an
# NVIDIA driver of 580 or later.
#SBATCH --job-name=nst-tuner
#SBATCH --nodes=2                # CHANGE
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1        # CHANGE
#SBATCH --cpus-per-task=8        # CHANGE
#SBATCH --time=08:00:00          # CHANGE
#SBATCH --signal=B:INT@300       # five minutes before the end: finish the rungs in progress and save
set -euo pipefail
job="${1:?usage: sbatch cluster/slurm.sh JOB.yaml RUN_DIR}"
run="${2:?usage: sbatch cluster/slurm.sh JOB.yaml RUN_DIR}"
source "${NST_VENV:-$HOME/nst-venv}/bin/activate"  # CHANGE: the environment with nst-tuner and ray[default]
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"  # since Slurm 22.05, srun no longer takes it from sbatch

# A token for this job, readable by this user only. Anybody who has it can run code in this job.
umask 077
RAY_AUTH_TOKEN_PATH="$(mktemp -p "$HOME" .nst-token.XXXXXX)"
python3 -c "import secrets; print(secrets.token_hex(32))" > "$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -p) 2> /dev/null || true' EXIT

head_node="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
head_ip="$(srun --nodes=1 --ntasks=1 -w "$head_node" hostname --ip-address | awk '{print $1}')"
gpus="${SLURM_GPUS_ON_NODE:-0}"
# Other jobs may run Ray on the same node, so this job uses two ports of its own, and any free ones (0).
port=$((20000 + SLURM_JOB_ID % 6000 * 2))
ray=(ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$gpus"
    --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0)

srun --nodes=1 --ntasks=1 -w "$head_node" "${ray[@]}" --head --node-ip-address="$head_ip" \
    --port="$port" --ray-client-server-port="$((port + 1))" --include-dashboard=false &
head=$!
for ((tries = 0; ; tries++)); do
    kill -0 "$head" 2> /dev/null || { echo "$head_node: Ray did not start; its messages are above" >&2; exit 1; }
    python3 -c "import socket; socket.create_connection(('$head_ip', $port), 2)" 2> /dev/null && break
    ((tries < 120)) || { echo "$head_node: Ray does not listen at $head_ip:$port" >&2; exit 1; }
    sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others > 0)); then
    srun --nodes="$others" --ntasks="$others" --exclude="$head_node" "${ray[@]}" \
        --address="$head_ip:$port" &
fi

if [[ -e "$run/study.journal" || -e "$run/study.json" ]]; then
    nst-tuner resume "$run" --address "$head_ip:$port" &
else
    nst-tuner launch "$job" --run-dir "$run" --address "$head_ip:$port" &
fi
launch=$!
trap 'kill -INT $launch' INT
# The first `wait` returns at the signal, the second one when the launch has ended.
wait "$launch" || wait "$launch"
