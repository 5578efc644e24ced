"""The large-scale study of Locatello et al. (2019): its grid of models, trained in shards, as a table and a page.

`jaxvae study --preset full` is the published grid: 7 data sets x 6 methods x 6 regularization strengths x 50 seeds.
`small` (180 models) and `tiny` (24) are small enough for two cores. It needs `pip install 'jaxvae[study]'`.

Each model has a number, which for `full` is that of the study's own list: of the 1,800 models of a data set, 0 to 299
are beta-VAEs, 300 to 599 FactorVAEs, then DIP-VAE-I, DIP-VAE-II, beta-TCVAE, and 1,500 to 1,799 AnnealedVAEs. (Version
0.1 had AnnealedVAE second. `merge` gives the models of its tables and folders their numbers; such a folder is not
continued.) `jaxvae study --preset full --model-num 1234` prints its settings, and the command that
trains it alone. `--shard 3/64` trains the fourth of 64 parts of the models, as one job of an array:

    #SBATCH --array=0-63
    srun jaxvae study --preset full --folder /shared/study --shard $SLURM_ARRAY_TASK_ID/64

In an indexed Job of Kubernetes, use `--shard $JOB_COMPLETION_INDEX/64`. The same command resumes a shard that was
stopped. A shard ends with a Parquet file that has one row per model: its place in the grid, losses, scores of means
and of samples, the terms of the KL, and the reason if it failed.

- `jaxvae study merge /shared/study --out study.parquet` makes one table of all shards, or of tables. It refuses
  missing or repeated models, and shards with different settings or different code.
- `jaxvae study report study.parquet` writes a page: each finding of the study next to what the table shows, the plots
  of the study, the theorem in numbers, and the cost. `jaxvae figures study.parquet` draws its figures for a paper.
- `jaxvae study speed` measures how long the published grid would take on your device, for `--speed` of `report`.

experiments/study.py does all of it for one preset, and experiments/README.md has what `small` shows.
"""
