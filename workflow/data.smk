# Data sets: downloaded by torchvision, embedded, or image folders.  Each is prepared once, as arrays.


# Compute nodes of a cluster often have no internet access; the node that submits jobs has.
localrules:
    dataset,


rule dataset:
    output:
        str(catalog.manifest_path("{name}", DATA_ROOT)),
    log:
        "logs/dataset/{name}.log",
    conda:
        "../environment.yml"
    threads: lambda wildcards: 1 + 15 * ("-" in wildcards.name)  # image folders are decoded in parallel
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 4000,
        runtime=lambda wildcards, attempt: attempt * 240,
        gpu=0,
    params:
        data_root=untracked(shlex.quote(str(DATA_ROOT))),
    message:
        "Prepare data set {wildcards.name}"
    shell:
        "python -m goodinit prepare {wildcards.name:q} --data-root {params.data_root} --processes {threads} > {log:q} 2>&1"
