# Data sets: downloaded and checked by torchvision, embedded, or folders of pictures; prepared once as arrays.


# On a cluster the nodes that compute seldom reach the internet; the one that submits the jobs does.
localrules:
    dataset,


rule dataset:
    output:
        str(catalog.manifest_path("{name}", DATA_ROOT)),  # of a set that is not prepared yet
    log:
        "logs/dataset/{name}.log",
    conda:
        "../environment.yml"
    threads: lambda wildcards: 1 + 15 * ("-" in wildcards.name)  # pictures of one size, which many processes decode
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 4000,
        runtime=lambda wildcards, attempt: attempt * 240,
        gpu=0,
    params:
        data_root=untracked(shlex.quote(str(DATA_ROOT))),
    shell:
        "python -m goodinit prepare {wildcards.name:q} --data-root {params.data_root} --processes {threads} > {log:q} 2>&1"
