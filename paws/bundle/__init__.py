"""The folder that holds a fitted model: writing, reading, predicting, tables, export."""
