-- The owner while there is mail it has not been told of, which is what each claim asks for; other databases index a part of
-- the rows for it. Without it a claim looks at every row that its worker owns. Where there is none the index goes by
-- age, as in 0005.
-- additive: only a column that the server computes, and its index.

alter table romancy_instances
    add column mail_for varbinary(255) generated always as (case when signals <> seen then owner end) stored,
    add key mail (mail_for, created_at);
