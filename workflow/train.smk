# Training.  A job writes one record, which is complete or absent.

# At demo scale, starting a process takes as long as a job; one process therefore trains several studies of a work.
STUDIES_PER_PROCESS = 4
TRAINING_OPTIONS = f"--data-root {shlex.quote(str(DATA_ROOT))} --device {config['device']}"


if SCALE == "demo":
    for names in study_groups(STUDIES_PER_PROCESS):

        rule:
            name:
                rule_name("train", names[0])
            input:
                ancient(manifests(job for name in names for job in JOBS[name].values())),
            output:
                update([file for name in names for file in records(name)]),
            log:
                f"logs/{SCALE}/train/{names[0]}.log",
            benchmark:
                f"logs/{SCALE}/train/{names[0]}.tsv"
            priority: 1  # train before drawing figures
            conda:
                "../environment.yml"
            threads: 1
            resources:
                mem_mb=lambda wildcards, attempt: attempt * 6000,
                runtime=lambda wildcards, attempt: attempt * 60,
                gpu=int(config["device"].startswith("cuda")),
            params:
                studies=names,
                input_options=untracked(INPUT_OPTIONS),
                training_options=untracked(TRAINING_OPTIONS),
            message:
                "Train {params.studies}"
            shell:
                "python -m goodinit train {params.studies} {params.input_options} {params.training_options} --threads {threads} > {log} 2>&1"

else:

    rule train:
        input:
            # A data set that is prepared again does not cause training; the record has its checksum.
            ancient(lambda wildcards: manifests([JOBS[f"{wildcards.work}/{wildcards.study}"][wildcards.job]])),
        output:
            update(f"{RESULTS}/runs/{{work}}/{{study}}/{{job}}.json"),
            update(f"{RESULTS}/runs/{{work}}/{{study}}/{{job}}.npz"),
        log:
            f"logs/{SCALE}/train/{{work}}/{{study}}/{{job}}.log",
        benchmark:
            f"logs/{SCALE}/train/{{work}}/{{study}}/{{job}}.tsv"
        priority: 1
        conda:
            "../environment.yml"
        threads: 1
        resources:
            mem_mb=requested("mem_mb", 6000),
            runtime=requested("runtime", 240),
            gpu=requested_gpu,
        params:
            input_options=untracked(INPUT_OPTIONS),
            training_options=untracked(TRAINING_OPTIONS),
        message:
            "Train {wildcards.work}/{wildcards.study}: {wildcards.job} ({threads} CPU threads, {resources.gpu} GPUs)"
        shell:
            "python -m goodinit train {wildcards.work}/{wildcards.study} --job {wildcards.job} {params.input_options} {params.training_options} "
            "--threads {threads} > {log} 2>&1"
