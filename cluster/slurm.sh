#!/usr/bin/env bash
# One tuning job on Slurm: sbatch cluster/slurm.sh job.yaml runs/cafe
# Change the lines marked CHANGE. A run that is there already is resumed, so the same command goes
# on after a time limit; the folders must be on storage that all nodes share, and nodes with GPUs need
# an NVIDIA driver of 580 or later.
#SBATCH --job-name=nst-tuner
#SBATCH --nodes=2                # CHANGE
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1        # CHANGE
#SBATCH --cpus-per-task=8        # CHANGE
#SBATCH --time=08:00:00          # CHANGE
#SBATCH --signal=B:INT@300       # five minutes before the end: finish the rungs under way, save
set -euo pipefail
job="${1:?usage: sbatch cluster/slurm.sh JOB.yaml RUN_DIR}"
run="${2:?usage: sbatch cluster/slurm.sh JOB.yaml RUN_DIR}"
source "${NST_VENV:-$HOME/nst-venv}/bin/activate"  # CHANGE: where nst-tuner and ray[default] are
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"  # since Slurm 22.05 srun does not take it from sbatch

# A token of this job's own, which only this user can read; whoever holds it may run code here.
umask 077
RAY_AUTH_TOKEN_PATH="$(mktemp -p "$HOME" .nst-token.XXXXXX)"
python3 -c "import secrets; print(secrets.token_hex(32))" > "$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"; kill $(jobs -p) 2> /dev/null || true' EXIT

head_node="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
head_ip="$(srun --nodes=1 --ntasks=1 -w "$head_node" hostname --ip-address | awk '{print $1}')"
gpus="${SLURM_GPUS_ON_NODE:-0}"
# Other jobs may have Ray on the same node: two ports of this job, and free ones (0) for the rest.
port=$((20000 + SLURM_JOB_ID % 6000 * 2))
ray=(ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$gpus"
    --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0)

srun --nodes=1 --ntasks=1 -w "$head_node" "${ray[@]}" --head --node-ip-address="$head_ip" \
    --port="$port" --ray-client-server-port="$((port + 1))" --include-dashboard=false &
head=$!
for ((tries = 0; ; tries++)); do
    kill -0 "$head" 2> /dev/null || { echo "$head_node: Ray did not start; why is said above" >&2; exit 1; }
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
# The first `wait` ends with the signal, the second one with the launch.
wait "$launch" || wait "$launch"
