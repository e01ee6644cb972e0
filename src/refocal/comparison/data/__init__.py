"""Makes a `Table` of files and frames as people have them, and says what was done on the way.

`sources` makes tables; `files` reads any file, with `text_files`, `excel_files` and
`columnar_files` for its kinds; `columns` decides what a column is, with `numerals` and `dates`;
`targets` what is predicted; `findings` checks the whole.
"""
