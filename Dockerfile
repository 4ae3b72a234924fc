# syntax=docker/dockerfile:1
# The image of every process of a world: `isthmus serve`, `gateway`, `shard`, `placer` and the commands of operators.
#
#   docker build -t isthmus .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/isthmus:0.1.0 --push .
#
# Kernels are compiled here, for a named CPU, and never again: numba's cache is keyed by the CPU, which would otherwise be
# the builder's. Machines that have less are told so at start-up (isthmus/warmup.py); for those, name an older CPU:
#
#   --build-arg AMD64_CPU=x86-64-v2 --build-arg AMD64_FEATURES=+cx16,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3
#
# The steps are in k8s/image/build.sh, which the tests run as well. Base images are named by tag: pin them by digest where
# your registry mirrors them.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG NODE_IMAGE=node:22-bookworm-slim

# The page is the same for every CPU: it is built once, on the builder's own.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS page
WORKDIR /src
COPY k8s/image/build.sh k8s/image/
COPY web web
RUN k8s/image/build.sh page

# x86-64-v3: Intel since Haswell (2013), AMD since Excavator and Zen; every current machine of the large clouds.
FROM ${PYTHON_IMAGE} AS baseline-amd64
ARG AMD64_CPU=x86-64-v3
ARG AMD64_FEATURES=+avx,+avx2,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave
ENV NUMBA_CPU_NAME=${AMD64_CPU} NUMBA_CPU_FEATURES=${AMD64_FEATURES}

# Neoverse N1: Graviton 2 and later, Ampere Altra, Axion, Cobalt. A Raspberry Pi 4 needs ARM64_CPU=cortex-a72 and +neon,+crc.
FROM ${PYTHON_IMAGE} AS baseline-arm64
ARG ARM64_CPU=neoverse-n1
ARG ARM64_FEATURES=+crc,+dotprod,+fullfp16,+lse,+neon,+rcpc,+rdm
ENV NUMBA_CPU_NAME=${ARM64_CPU} NUMBA_CPU_FEATURES=${ARM64_FEATURES}

FROM baseline-${TARGETARCH} AS program
ENV NUMBA_CACHE_DIR=/opt/isthmus/kernels
WORKDIR /src
COPY . .
COPY --from=page /src/server/static server/static
RUN k8s/image/build.sh install /opt/isthmus
RUN k8s/image/build.sh kernels /opt/isthmus

FROM baseline-${TARGETARCH}
# tini is process 1: the system ignores SIGTERM for a process 1 that has not said yet what it does about it, so whoever
# ends a pod that is still starting would wait for the whole grace period.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tini >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY --from=program /opt/isthmus /opt/isthmus
# No home, nothing to write but /tmp: the root may be read-only, the user any one that is not root.
ENV NUMBA_CACHE_DIR=/opt/isthmus/kernels PATH=/opt/isthmus/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080/tcp 8080/udp
ENTRYPOINT ["/usr/bin/tini", "--", "isthmus"]
CMD ["--help"]
