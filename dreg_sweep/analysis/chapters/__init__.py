"""The chapters of the report: each module gathers the tables and figures of one question, with their captions."""
