# The image for Kubernetes (cluster/kuberay.yaml) and for a machine with Docker:
#   docker build -t nst-tuner .
#   docker run --rm --gpus all -v "$PWD:/data" -w /data nst-tuner nst-tuner launch job.yaml --run-dir run
# The Ray version must be that of constraints.txt. torch contains the CUDA libraries; the host needs an
# NVIDIA driver of 580 or later (CUDA 13).
FROM rayproject/ray:2.60.0-py312
COPY --chown=ray:users . /home/ray/nst-tuner
RUN pip install --no-cache-dir --constraint /home/ray/nst-tuner/constraints.txt \
        "ray[default,tune]" /home/ray/nst-tuner
# Weights are downloaded to this folder on first use. Mount a volume there to keep them.
ENV NST_TUNER_CACHE=/home/ray/.cache/nst-tuner
ENV RAY_AUTH_MODE=token
