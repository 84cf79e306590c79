#!/bin/bash
# after the last part: start the daemon
[ -d /tmp/gpu ] || exit 9
. /tmp/gpu/env.sh
nvidia-smi -L
export GPUS=$(nvidia-smi -L | wc -l) SLOTS=2 RES=/tmp/res DIALOGSUM_STORE=/tmp/store DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_HOME=/tmp/prefect
export END=${END:-1430} GRID_END=${GRID_END:-740} LAST_START=${LAST_START:-620} SAMPLES=16 GBS=1000
mkdir -p /tmp/res /tmp/decoder /tmp/x; cp $(dirname $0)/*.py /tmp/x/
[ -f $GPU_FILES/decoder.tar ] && tar xf $GPU_FILES/decoder.tar -C /tmp/decoder && export DECODER=/tmp/decoder
cp -r . /tmp/tree; cd /tmp/tree
setsid nohup python3 /tmp/x/driver.py > /tmp/res/stdout.log 2>&1 < /dev/null &
sleep 20; cat /tmp/res/driver.log; tail -n 5 /tmp/res/p0-rows.log
