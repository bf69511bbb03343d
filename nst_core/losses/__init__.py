"""Losses: what a stylization minimizes.

* `functional`: the formula of every loss term.
* `batch_loss`: all terms of all lanes of a batch, weighted.
* `terms`, `loss_kinds`: the rows that a term consists of; which terms some lanes need.
* `inputs`: content, styles and masks of a stylization, at every image size.
* `targets`: features and statistics of these images, to compare with; `byte_lru` caches them.
* `laplacian`: the matting Laplacian of the photorealism term.
"""
