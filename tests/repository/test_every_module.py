"""Every module is tested: by the test file that mirrors it, or by the one that this list names.

`tests/<package>/test_<module>.py` mirrors `<package>/<module>.py`.
"""

from pathlib import Path

import pytest

from tests.support.paths import ROOT

STORE = "artifacts/test_artifact_store.py"
DECODER = "tasks/decoding/test_decoder.py"
PACKED_MODEL = "tasks/training/test_packed_model.py"
LOOP = "tasks/training/test_loop.py"
PIPELINE = "flows/test_pipeline.py"
STATION = "system/test_station.py"
SERVING = "flows/serving/test_application.py"
ENDPOINT = "flows/serving/test_chat_endpoint.py"
EXPORT_GGUF = "flows/inference/test_export_gguf.py"
SUMMARIZE = "flows/inference/test_summarize_file.py"
SWEEP = "flows/sweeps/test_sweep_loop.py"
BENCHMARKS = "flows/benchmarks/test_benchmarks.py"
TRANSCRIPTS = "tasks/transcripts/test_corpus.py"
COMPARE_DATASETS = "tasks/data/test_compare_datasets.py"
DATASET_CHECKS = "tasks/data/test_dataset_checks.py"
TRACKERS = "system/test_trackers.py"
QUICKSTART = "system/test_quickstart.py"
SOAK = "flows/benchmarks/test_soak.py"
COVERED = {
    "artifacts/artifact_path.py": (STORE, "hostile names are refused"),
    "artifacts/atomic_files.py": (STORE, "files are replaced as a whole"),
    "artifacts/backend.py": (STORE, "the interface of the local and the remote store"),
    "artifacts/check.py": ("tasks/training/test_preflight.py", "findings of every check before training"),
    "artifacts/errors.py": ("flows/cli/test_errors.py", "what a command prints for each kind of error"),
    "artifacts/local_backend.py": (STORE, "tests run on it, on memory and on S3"),
    "artifacts/manifest.py": (STORE, "manifests are written, read and damaged"),
    "artifacts/prefect_results.py": ("system/test_caching.py", "a result record that is lost costs nothing"),
    "artifacts/record.py": ("flows/test_recipe.py", "unknown keys are refused"),
    "artifacts/refs.py": ("faults/test_traversal.py", "hostile ids and paths are refused"),
    "artifacts/remote_backend.py": (STORE, "tests run on it, on memory and on S3"),
    "artifacts/retention.py": ("artifacts/test_garbage_collection.py", "what must stay when the rest is removed"),
    "artifacts/side_files.py": (STORE, "small files are created and replaced"),
    "artifacts/text.py": ("flows/cli/test_errors.py", "every message is one line"),
    "artifacts/timestamps.py": (STORE, "artifacts sort after those made before a clock was set back"),
    "artifacts/schemas.py": ("tasks/test_download.py", "the columns of stored tables"),
    "artifacts/user_paths.py": ("tasks/models/test_prompt_template.py", "paths that users give are refused or read"),
    "flows/adapter_lookup.py": (PIPELINE, "`latest`, `champion` and an id lead to an adapter"),
    "flows/benchmarks/child_process.py": (BENCHMARKS, "each system runs in a process, and may fail or time out"),
    "flows/benchmarks/children/our_stages.py": (BENCHMARKS, "the rows `ours` and `ours-stage`"),
    "flows/benchmarks/children/peer_generation.py": (BENCHMARKS, "the rows `transformers` and `article`"),
    "flows/benchmarks/children/peer_training.py": (BENCHMARKS, "the rows `trl-tuned` and `trl-default`"),
    "flows/benchmarks/children/random_model.py": (BENCHMARKS, "the stand-in for a model"),
    "flows/benchmarks/children/timed_run.py": (BENCHMARKS, "a whole run, second by second"),
    "flows/benchmarks/children/unchanged_run.py": (BENCHMARKS, "an unchanged retraining"),
    "flows/benchmarks/earlier_names.py": ("flows/benchmarks/test_names.py", "the baseline of its table"),
    "flows/benchmarks/judged_summaries.py": ("flows/benchmarks/test_names.py", "the summaries of its table"),
    "flows/benchmarks/environment.py": (BENCHMARKS, "which systems take part"),
    "flows/benchmarks/flops.py": (BENCHMARKS, "floating-point operations per token, by hand"),
    "flows/benchmarks/generate.py": (BENCHMARKS, "its table"),
    "flows/benchmarks/greedy.py": (BENCHMARKS, "its table"),
    "flows/benchmarks/load.py": ("faults/test_load.py", "its table"),
    "flows/benchmarks/parity.py": (BENCHMARKS, "its table"),
    "flows/benchmarks/pipeline.py": (BENCHMARKS, "its table"),
    "flows/benchmarks/score.py": ("tasks/test_score.py", "the scorer that it times is checked there"),
    "flows/benchmarks/serve.py": ("flows/serving/test_load.py", "its table"),
    "flows/benchmarks/serve_load.py": ("flows/serving/test_load.py", "answers while the champion changes are judged"),
    "flows/benchmarks/children/serve_store.py": ("flows/serving/test_load.py", "the adapters of the benchmark"),
    "flows/benchmarks/train.py": (BENCHMARKS, "its table"),
    "flows/benchmarks/soak_station.py": (SOAK, "a station that is started, asked, disturbed and ended"),
    "flows/benchmarks/children/small_tokenizer.py": (SOAK, "a station trains the model of its tokens"),
    "flows/benchmarks/unchanged.py": (BENCHMARKS, "its table"),
    "flows/champion_settings.py": ("flows/station/test_default_recipe.py", "settings of the champion"),
    "flows/cli/__main__.py": (QUICKSTART, "every command is started by it"),
    "flows/cli/artifact_commands.py": ("artifacts/test_garbage_collection.py", "`gc`, `pin` and `store` are called"),
    "flows/cli/bench_commands.py": (BENCHMARKS, "`bench` is called"),
    "flows/cli/comparison.py": ("flows/test_evaluation_history.py", "what `promote` prints of candidate and champion"),
    "flows/cli/doctor.py": ("flows/cli/test_errors.py", "`doctor` is called"),
    "flows/cli/history.py": ("flows/test_evaluation_history.py", "what `history` prints"),
    "flows/cli/main.py": ("repository/test_docs.py", "every command of the documentation is parsed by it"),
    "flows/cli/model_commands.py": ("flows/inference/test_export_adapter.py", "`export` is called"),
    "flows/cli/options.py": ("repository/test_docs.py", "every option of the documentation is there"),
    "flows/cli/flow_execution.py": (QUICKSTART, "`run` and `evaluate` run a flow in this process"),
    "flows/cli/pipeline_commands.py": (QUICKSTART, "`run` and `evaluate` are called"),
    "flows/cli/docs_blocks.py": ("repository/test_docs.py", "the generated blocks are those that it makes"),
    "flows/cli/results_table.py": ("flows/test_evaluation_history.py", "the table of results"),
    "flows/cli/review_commands.py": ("flows/test_review_page.py", "`review` is called"),
    "flows/cli/review_output.py": ("flows/test_review_votes.py", "what `review --votes` prints"),
    "flows/cli/serve_commands.py": ("flows/serving/test_server.py", "`serve` is called"),
    "flows/cli/show.py": (QUICKSTART, "`show` verifies an artifact and its lineage"),
    "flows/cli/station_commands.py": (STATION, "`station up`, `status` and `down` are called"),
    "flows/cli/store_report.py": ("artifacts/test_garbage_collection.py", "`store` is called"),
    "flows/time_labels.py": ("flows/cli/test_status_output.py", "times in the status"),
    "flows/cli/terminal.py": (PIPELINE, "scores of a run as the terminal shows them"),
    "flows/decision_event.py": (PIPELINE, "what is announced about a decision"),
    "flows/cli/sweep_commands.py": ("system/test_sweep_on_station.py", "`sweep` and `plan --over` are called"),
    "flows/cli/sweep_output.py": ("flows/sweeps/test_results.py", "what `sweep` prints"),
    "flows/sweeps/cost.py": ("flows/sweeps/test_sweep_plan.py", "times that are predicted"),
    "flows/sweeps/result_files.py": ("flows/sweeps/test_results.py", "plot and recipe of the best trial"),
    "flows/sweeps/result_text.py": ("flows/sweeps/test_results.py", "sentence, table and remarks"),
    "flows/sweeps/setup.py": (SWEEP, "the trials of a grid and of a sampler"),
    "flows/sweeps/sweep_flow.py": (SWEEP, "the flow is called"),
    "flows/sweeps/trial_listener.py": (SWEEP, "seconds, losses and pruned trainings"),
    "flows/sweeps/trials.py": (SWEEP, "records from which an interrupted sweep goes on"),
    "flows/cli/track_commands.py": (TRACKERS, "`track` is called"),
    "flows/cli/tracker_status.py": (TRACKERS, "what `track` prints"),
    "flows/gpu_pool.py": (STATION, "stages run as children on the GPU pool"),
    "flows/integrations/mlflow_registry.py": (TRACKERS, "versions and alias on a real server"),
    "flows/integrations/trackers/mlflow_tracker.py": (TRACKERS, "runs on a real server"),
    "flows/integrations/trackers/tensorboard_tracker.py": (TRACKERS, "event files as TensorBoard reads them"),
    "flows/integrations/trackers/trackio_tracker.py": (TRACKERS, "its local store"),
    "flows/integrations/trackers/wandb_tracker.py": (TRACKERS, "files that wandb writes offline"),
    "flows/inference/card_scores.py": ("flows/inference/test_export_adapter.py", "the scores of a model card"),
    "flows/inference/export_format.py": (EXPORT_GGUF, "formats are found, chosen and refused"),
    "flows/inference/export_formats/adapter.py": ("flows/inference/test_export_adapter.py", "plain peft"),
    "flows/inference/export_formats/gguf_adapter.py": (EXPORT_GGUF, "the adapter for llama.cpp"),
    "flows/inference/export_formats/gguf_model.py": (EXPORT_GGUF, "the model for llama.cpp"),
    "flows/inference/export_formats/merged.py": ("flows/inference/test_export_adapter.py", "plain transformers"),
    "flows/inference/gguf_usage.py": (EXPORT_GGUF, "what the card says of llama.cpp and Ollama"),
    "flows/inference/ollama.py": (EXPORT_GGUF, "the template of a Modelfile is the chat template"),
    "flows/local_steps.py": ("flows/inference/test_gguf_scores.py", "the stages of `export --score` run once"),
    "flows/inference/licences.py": ("flows/inference/test_export_adapter.py", "what an export says of licences"),
    "flows/inference/model_card.py": ("flows/inference/test_export_adapter.py", "the model card of an export"),
    "flows/inference/model_selection.py": (SUMMARIZE, "the champion with its own prompt and decoding"),
    "flows/inference/summarize_flow.py": (SUMMARIZE, "the artifact of its flow"),
    "flows/inference/transcript_input.py": (TRANSCRIPTS, "`summarize --show` on every file of the corpus"),
    "flows/runner.py": ("flows/test_pipeline.py", "runs promote once, reuse and compare again"),
    "tasks/models/gguf_architectures.py": ("tasks/models/test_gguf_file.py", "each architecture, written and read"),
    "tasks/models/gguf_export.py": (EXPORT_GGUF, "exports of a model and of an adapter"),
    "tasks/models/gguf_types.py": ("tasks/models/test_gguf_file.py", "each type of numbers"),
    "tasks/execution/listener.py": ("system/test_caching.py", "the entries of a run and of a plan are compared"),
    "flows/planner.py": ("system/test_caching.py", "every change of the table is planned"),
    "flows/publishing.py": (PIPELINE, "artifacts, events and the JSON of a run"),
    "flows/run_names.py": ("flows/test_labels.py", "names of runs"),
    "flows/serving/api_errors.py": ("flows/serving/test_chat_request.py", "refusals in OpenAI's format"),
    "flows/serving/batching_engine.py": (SERVING, "every kind of decoding says what `summarize` says"),
    "flows/serving/completions.py": (SERVING, "responses and streams are read by OpenAI's client"),
    "flows/serving/config.py": (SERVING, "limits of requests"),
    "flows/serving/engine_choice.py": ("flows/serving/test_server.py", "engines that are not there are refused"),
    "flows/serving/inference_engine.py": (ENDPOINT, "another engine with the same interface"),
    "flows/serving/metrics.py": (SERVING, "what `/metrics` shows"),
    "flows/serving/model_cache.py": (ENDPOINT, "models that are loaded, waited for and freed"),
    "flows/serving/models.py": (SERVING, "names of models, and a champion that is damaged or missing"),
    "flows/serving/page.py": ("system/test_serve_in_browser.py", "the page in a browser"),
    "flows/serving/streaming_decoder.py": (SERVING, "streams, limits of tokens and texts of `summarize`"),
    "flows/serving/vllm_engine.py": (ENDPOINT, "only its interface: it needs a GPU, see not-verified.md"),
    "flows/slurm/shown_state.py": ("system/test_slurm.py", "states of runs whose jobs wait and run"),
    "flows/stage_flows.py": (STATION, "one stage is made again from an id"),
    "flows/station/provisioning.py": (STATION, "pools, limits, automations and deployments"),
    "flows/station/server_check.py": ("system/test_postgresql.py", "a server that does not answer is refused"),
    "flows/station/server_credential.py": ("system/test_station_credential.py", "commands without the credential"),
    "flows/station/server_status.py": ("system/test_status.py", "pools, queues, GPU slots and the last failure"),
    "flows/station/station_report.py": (STATION, "`station status` is called"),
    "flows/station/station_status.py": ("system/test_status.py", "`dialogsum status` of a real station"),
    "flows/station/status_records.py": ("system/test_status.py", "the record of `dialogsum status --json`"),
    "flows/station/supervisor.py": (STATION, "processes of a station, up, dead and down"),
    "tasks/run_watch.py": ("tasks/test_server_outage.py", "a run that is cancelled, or taken for dead"),
    "flows/station/worker.py": (STATION, "the workers of the station, which take runs"),
    "tasks/concurrency_lease.py": ("tasks/test_gpu_lease.py", "a lease that is renewed, lost and waited for"),
    "tasks/config.py": ("flows/test_recipe.py", "every key of a recipe is validated by it"),
    "tasks/data/change_records.py": (COMPARE_DATASETS, "what a comparison returns"),
    "tasks/data/dialogue_row.py": (DATASET_CHECKS, "speakers and words of planted rows"),
    "tasks/data/duplicates.py": (DATASET_CHECKS, "dialogues with the same words"),
    "tasks/data/repeated_references.py": (DATASET_CHECKS, "boilerplate and copied references"),
    "tasks/data/row_check.py": (DATASET_CHECKS, "sentences of findings"),
    "tasks/data/row_lengths.py": (DATASET_CHECKS, "rows that are short, long or without turns"),
    "tasks/data/row_matching.py": (COMPARE_DATASETS, "random edits are counted exactly"),
    "tasks/data/training_statistics.py": (COMPARE_DATASETS, "lengths, topics and words, by hand"),
    "tasks/decoding/batching.py": (DECODER, "rows in any batches give the same texts"),
    "tasks/decoding/cuda_graphs.py": (DECODER, "its shapes; graphs themselves need a GPU"),
    "tasks/decoding/engine.py": (DECODER, "greedy and sampled texts are those of transformers"),
    "tasks/decoding/flash_cache.py": (DECODER, "against the plain cache"),
    "tasks/decoding/hf_generate.py": ("tasks/test_generate.py", "beams are left to transformers"),
    "tasks/decoding/kv_cache.py": (DECODER, "greedy and sampled texts are those of transformers"),
    "tasks/decoding/part_files.py": ("tasks/test_generate.py", "finished batches are kept, half-written ones ignored"),
    "tasks/decoding/sampling.py": (DECODER, "its draws depend on row and seed alone"),
    "tasks/decoding/worker.py": ("tasks/test_generate.py", "the process of the stage generate"),
    "tasks/metrics/review_result.py": ("tasks/test_review.py", "what is written is read back"),
    "tasks/metrics/number_lexicon.py": (
        "tasks/metrics/test_invented_numbers.py",
        "what its words say",
    ),
    "tasks/metrics/row_scores.py": ("tasks/test_score.py", "the table is read back by these columns"),
    "tasks/metrics/score_table.py": ("tasks/metrics/test_scores.py", "its names are the keys of scores.json"),
    "tasks/execution/decision.py": ("system/test_caching.py", "which stages run after which change"),
    "tasks/execution/executor.py": (STORE, "a stage that fails half-way leaves no artifact"),
    "tasks/execution/lease_files.py": ("tasks/execution/test_stage_lease.py", "leases are created, read and deleted"),
    "tasks/execution/job.py": ("tasks/execution/test_sharding.py", "jobs are saved and loaded"),
    "tasks/execution/stage.py": (STORE, "stages that are decided, executed and fail half-way"),
    "tasks/models/base_comparison.py": ("flows/inference/test_export_adapter.py", "exports for another base model"),
    "tasks/models/library_warnings.py": ("flows/inference/test_export_adapter.py", "the output of `export`"),
    "tasks/models/loading.py": (PACKED_MODEL, "models are loaded as transformers loads them"),
    "tasks/prefect_task.py": ("system/test_caching.py", "every stage runs as a cached task"),
    "tasks/reporting/links.py": ("tasks/reporting/test_artifact_page.py", "ids become links"),
    "tasks/reporting/page.py": ("tasks/test_report.py", "sections and figures of the page"),
    "tasks/reporting/plots.py": ("tasks/test_report.py", "plots have the same bytes each time"),
    "tasks/reporting/rendering.py": ("tasks/reporting/test_escaping.py", "hostile text in both files"),
    "tasks/reporting/review_html.py": ("flows/test_review_page.py", "hostile text on the page"),
    "tasks/reporting/sections.py": ("tasks/test_report.py", "sections and figures of the page"),
    "tasks/reporting/system_names.py": ("tasks/reporting/test_headline.py", "outputs of one adapter can be told apart"),
    "tasks/sources/file_digests.py": ("tasks/test_hub_data.py", "revisions are digests of the files"),
    "tasks/sources/hub.py": ("faults/test_hub.py", "a hub that fails in every way"),
    "tasks/summarization/chunk_files.py": (SUMMARIZE, "finished chunks are kept"),
    "tasks/summarization/request.py": (SUMMARIZE, "options of the command line"),
    "tasks/summarization/dialogue_prompts.py": (SUMMARIZE, "long dialogues are split"),
    "tasks/summarization/summarize_table.py": (SUMMARIZE, "whole files"),
    "tasks/summarization/summarizer.py": (SUMMARIZE, "summaries are those of plain transformers"),
    "tasks/summarization/worker_records.py": (SUMMARIZE, "passed to its processes"),
    "tasks/summarization/worker.py": (SUMMARIZE, "its process is killed and started again"),
    "tasks/transcripts/assistant_exports.py": (TRANSCRIPTS, "the shown branch of a ChatGPT export"),
    "tasks/transcripts/caption_markup.py": (TRANSCRIPTS, "captions with markup and `<` in words"),
    "tasks/transcripts/captions.py": (TRANSCRIPTS, "captions by and against the rules"),
    "tasks/transcripts/characters.py": (TRANSCRIPTS, "invisible marks and wrongly decoded letters"),
    "tasks/transcripts/chat_exports.py": (TRANSCRIPTS, "exports of every program"),
    "tasks/transcripts/chat_messages.py": (TRANSCRIPTS, "speakers and words of messages"),
    "tasks/transcripts/detect.py": (TRANSCRIPTS, "the format of every file"),
    "tasks/transcripts/json_values.py": (TRANSCRIPTS, "where an export has its messages"),
    "tasks/transcripts/message_markup.py": (TRANSCRIPTS, "mentions, links and HTML"),
    "tasks/transcripts/message_speakers.py": (TRANSCRIPTS, "speakers of every program"),
    "tasks/transcripts/program_lines.py": (TRANSCRIPTS, "footers, joins and leaves"),
    "tasks/transcripts/records.py": (TRANSCRIPTS, "losses are counted"),
    "tasks/transcripts/signal_text.py": (TRANSCRIPTS, "messages that sigtop writes"),
    "tasks/transcripts/speaker_names.py": (TRANSCRIPTS, "names of any script"),
    "tasks/transcripts/speech_recognition.py": (TRANSCRIPTS, "texts of recognizers"),
    "tasks/transcripts/timestamps.py": (TRANSCRIPTS, "dates and times of many countries"),
    "tasks/transcripts/turn_headings.py": (TRANSCRIPTS, "names and times above the words"),
    "tasks/transcripts/turn_lines.py": (TRANSCRIPTS, "every form of one line"),
    "tasks/transcripts/zoom.py": (TRANSCRIPTS, "chats that Zoom saves"),
    "tasks/transcripts/whatsapp_languages.py": ("tasks/transcripts/test_whatsapp.py", "exports in each language"),
    "tasks/training/attention.py": (PACKED_MODEL, "a row does not see its neighbours"),
    "tasks/training/builder.py": ("tasks/test_train.py", "the model that is trained"),
    "tasks/training/check_messages.py": ("tasks/training/test_preflight.py", "sentences of the checks"),
    "tasks/training/checkpoint.py": (LOOP, "checkpoints that are damaged, foreign or half-written"),
    "tasks/training/cuda_graphs.py": (PACKED_MODEL, "its shapes; graphs themselves need a GPU"),
    "tasks/training/flat_adapter.py": (PACKED_MODEL, "transformers' modules share its parameters"),
    "tasks/training/fused_ops.py": (PACKED_MODEL, "loss and gradients are those of transformers"),
    "tasks/training/gradients.py": (PACKED_MODEL, "loss and gradients are those of transformers"),
    "tasks/training/guards.py": (LOOP, "divergence, checkpoints and SIGTERM"),
    "tasks/training/layers.py": (PACKED_MODEL, "loss and gradients are those of transformers"),
    "tasks/training/lora_linear.py": ("tasks/training/test_nf4_gradient.py", "gradients through an nf4 base"),
    "tasks/training/memory.py": (LOOP, "memory that runs out"),
    "tasks/training/optimizer.py": ("tasks/test_train.py", "five steps are those of TRL's trainer"),
    "tasks/training/packing.py": (PACKED_MODEL, "packed rows have the loss of single ones"),
    "tasks/training/padded_model.py": (PACKED_MODEL, "against the packed model"),
    "tasks/training/process_group.py": (LOOP, "two processes train what one does"),
    "tasks/training/schedule.py": (LOOP, "rows and learning rates of every step"),
    "tasks/training/throughput.py": ("tasks/test_train.py", "the measurements of a training"),
    "tasks/training/worker.py": (LOOP, "its process is killed and started again"),
    "tasks/training/worker_records.py": ("tasks/test_train.py", "configs and results of its worker pass through JSON"),
    "tasks/workers/events.py": ("tasks/workers/test_launcher.py", "what a worker sends to its parent"),
    "tasks/workers/processes.py": ("tasks/workers/test_launcher.py", "workers are started, killed and interrupted"),
    "tasks/workers/standby_main.py": ("tasks/workers/test_standby.py", "a standby worker does the work or ends"),
    "tasks/workers/worker_main.py": ("tasks/workers/test_launcher.py", "results and errors reach the parent"),
}
"""Module: the test file that covers it although it has another name, and what is tested there."""
MODULES = sorted(
    str(file.relative_to(ROOT))
    for package in ("artifacts", "tasks", "flows")
    for file in (ROOT / package).rglob("*.py")
    if file.name != "__init__.py"
)


def mirror(module: str) -> Path:
    file = ROOT / "tests" / module
    return file.with_name(f"test_{file.name}")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test_file(module: str) -> None:
    """Its own, or one of the list; not both, so that the list stays short."""
    assert mirror(module).is_file() != (module in COVERED), f"add tests/…/{mirror(module).name}, or a line to COVERED"


def test_the_list_names_modules_and_tests_that_are_there() -> None:
    assert sorted(set(COVERED) - set(MODULES)) == []
    assert sorted(file for file, _ in COVERED.values() if not (ROOT / "tests" / file).is_file()) == []
