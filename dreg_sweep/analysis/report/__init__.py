"""How tables print (CSV, Markdown, LaTeX, HTML), and the page that carries them all."""
