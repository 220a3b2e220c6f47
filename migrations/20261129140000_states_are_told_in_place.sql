-- A function that is strict is called for each row and each column made of it, three times for a deployment; one that isn't becomes part
-- of the expression. A state is never null, and of a null both say null.

create or replace function holds_environment(state text) returns boolean
language sql immutable parallel safe called on null input
return state in ('ready', 'pulling', 'starting', 'running', 'cancelling', 'unknown');
