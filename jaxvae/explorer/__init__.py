"""An interactive page on which the latents of a run are moved.

`jaxvae explore RUN` opens it in the browser, and `jaxvae.explore(run)` shows it in a notebook. Both need
`pip install 'jaxvae[explore]'`:

- a slider per active latent, ordered by KL and named by the factor that it carries, with the decoded example beside the
  original one
- any example of the data, or a picture of your own, as the starting point
- a latent exchanged between two examples, and a walk from one to the other
- a scatter plot of two latents, coloured by a factor, whose points show their picture and can be chosen
- for tables, the columns that change

What is on the page can be saved as PNG, SVG, GIF and CSV, and as a link that restores it. The page is served on
127.0.0.1 only and asks no other machine for anything. Its address contains a random token, without which every request
is refused, and so are requests that come from other pages.

- `state`: what the page shows of a run, as arrays
- `server`: the requests of the page
- `notebook`: the page in a frame
"""
