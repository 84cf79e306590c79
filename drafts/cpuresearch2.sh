cd /work/wt-decoder
export PYTHONPATH=$PWD HF_HUB_OFFLINE=1 GPU_FILES=/work/shared/data RES=/tmp/cpur2 SHARE=/tmp/cpushare DIALOGSUM_STORE=/tmp/cpurstore N_ROWS=8 SAMPLES=4 N_EVAL=2 OMP_NUM_THREADS=1 SETS="train.max_steps=1 train.batch_size=2 train.lora.rank=8 generate.max_new_tokens=40 runtime.threads=1 train.distill.max_steps=1"
rm -rf /tmp/cpur2 /tmp/cpushare; mkdir -p /tmp/cpushare
cat > /tmp/cpushare/queue.jsonl <<'Q'
{"name":"a","bs":2}
{"name":"s","op":"sample","start":"a","k":3}
{"name":"b","kind":"sft","refs":true,"bs":2,"k":3,"n":4}
{"name":"c","kind":"sigmoid_norm","beta":10,"ce":0.3,"bs":2,"from":"s","start":"a"}
{"name":"avg","op":"average","of":["a","c"]}
{"name":"m","op":"mbr","start":"avg","k":4}
{"op":"end"}
Q
OF=1 RANK_OF_TWO=0 /work/main/.venv/bin/python /tmp/gpusrc/research2.py
