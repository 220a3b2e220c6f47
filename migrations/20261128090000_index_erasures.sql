-- Whoever is erased and named again gets a new key: which keys are being erased is asked with every append that names somebody.
create index event_of_erasures on event (position) where type = 'person_erased';
