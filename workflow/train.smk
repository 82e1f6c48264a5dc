# Training: a job's record is its only trace, whole or absent.

# At demo scale a job takes no longer than starting a process: all jobs of some studies of a work share one.
STUDIES_TOGETHER = 4
DATA_AND_DEVICE = f"--data-root {shlex.quote(str(DATA_ROOT))} --device {config['device']}"


if SCALE == "demo":
    for names in studies_together(STUDIES_TOGETHER):

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
            priority: 1  # the longest work first, and the figures of one study while the next is trained
            conda:
                "../environment.yml"
            threads: 1
            resources:
                mem_mb=lambda wildcards, attempt: attempt * 6000,
                runtime=lambda wildcards, attempt: attempt * 60,
                gpu=int(config["device"].startswith("cuda")),
            params:
                studies=names,
                place=untracked(STUDIES_AND_RECORDS),
                where=untracked(DATA_AND_DEVICE),
            shell:
                "python -m goodinit train {params.studies} {params.place} {params.where} --threads {threads} > {log} 2>&1"

else:

    rule train:
        input:
            # Prepared again elsewhere, the same data are no reason to train again: their checksum is in the record.
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
            gpu=int(config["device"].startswith("cuda") or (SCALE == "paper" and config["device"] == "auto")),
        params:
            place=untracked(STUDIES_AND_RECORDS),
            where=untracked(DATA_AND_DEVICE),
        shell:
            "python -m goodinit train {wildcards.work}/{wildcards.study} --job {wildcards.job} {params.place} {params.where} "
            "--threads {threads} > {log} 2>&1"
