-- Every entry written before has one of the kinds, too.

alter table ledger validate constraint ledger_kind_check;
