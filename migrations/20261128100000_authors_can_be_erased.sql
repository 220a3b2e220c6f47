-- Whom CI names as a build's author has a key too.
alter table subject_key
  drop constraint subject_key_kind_check,
  add constraint subject_key_kind_check check (kind in ('person', 'operator', 'chooser', 'author', 'output'));
