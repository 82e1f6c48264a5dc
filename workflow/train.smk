# Training: one rule; a job's record is its only trace, whole or absent.


rule train:
    input:
        # Prepared again elsewhere, the same data are no reason to train again: their checksum is in the record.
        ancient(manifests),
    output:
        f"{RESULTS}/runs/{{work}}/{{study}}/{{job}}.json",
        f"{RESULTS}/runs/{{work}}/{{study}}/{{job}}.npz",
    log:
        f"logs/{SCALE}/train/{{work}}/{{study}}/{{job}}.log",
    benchmark:
        f"logs/{SCALE}/train/{{work}}/{{study}}/{{job}}.tsv"
    priority: 1  # the longest work first, and the pictures of one study while the next is trained
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=asked("mem_mb", 6000),
        runtime=asked("runtime", 240),
        gpu=int(config["device"].startswith("cuda") or (SCALE == "paper" and config["device"] == "auto")),
    params:
        place=PLACE,
        data_root=shlex.quote(str(DATA_ROOT)),
        device=config["device"],
    shell:
        "python -m goodinit train {wildcards.work}/{wildcards.study} --job {wildcards.job} {params.place} "
        "--data-root {params.data_root} --device {params.device} --threads {threads} > {log} 2>&1"
