//! Checkpoints as this database knows them: tiles of the tree, what was signed, how far each place outside got. And whether
//! the log is closed.

use chrono::{DateTime, Utc};

use super::Store;
use super::history::Entry;
use crate::domain::ids::installation_stream;
use crate::keys::Keyring;
use crate::keys::code::{Code, RowCodes};
use crate::proof::chain::Hash;
use crate::proof::tree::TILE;

/// A checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the table")]
pub struct Signed {
    /// In which order it was signed.
    pub n: i64,
    pub size: u64,
    pub root: Hash,
    pub key_id: String,
    pub note: String,
    pub at: DateTime<Utc>,
    /// Under the master key, see [`Signed::is_after`]; none where it was signed before there were codes.
    pub code: Option<Vec<u8>>,
}

impl Signed {
    /// Whether its code says that it was signed after another one, or as the first; none where that can't be told.
    pub fn is_after(&self, before: Option<&Self>, codes: &RowCodes) -> Option<bool> {
        match codes.check(&row(self.size, &self.root, &self.key_id, before), self.code.as_deref()?) {
            Code::Right => Some(true),
            Code::Wrong => Some(false),
            Code::Unknown => None,
        }
    }
}

/// The maker and checker of codes of checkpoints' rows.
pub fn codes(keys: &Keyring) -> RowCodes {
    keys.row_codes("checkpoint")
}

/// What the code of a row is of: what was signed, and what was signed before it.
pub(crate) fn row(size: u64, root: &Hash, key_id: &str, before: Option<&Signed>) -> Vec<u8> {
    let (size_before, root_before) = before.map_or((0, Hash::default()), |before| (before.size, before.root));
    [&size.to_be_bytes()[..], root, &size_before.to_be_bytes(), &root_before, key_id.as_bytes()].concat()
}

/// Where this log parts from another history of it that is known.
#[derive(Debug, Clone, Copy)]
pub struct Parting {
    /// Position of the decision that this one goes on.
    pub position: i64,
    /// A time up to which both are the same.
    pub since: DateTime<Utc>,
    /// When it was decided: nothing happens in the other one afterwards.
    pub decided: DateTime<Utc>,
}

/// How far a place outside got.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the table")]
pub struct PlaceState {
    pub place: String,
    pub size: i64,
    pub kept: i64,
    pub problem: Option<String>,
    pub failing_since: Option<DateTime<Utc>>,
}

/// That nobody else signs, until it is over.
pub struct Turn(sqlx::Transaction<'static, sqlx::Postgres>);

impl Turn {
    /// Lets the next one on.
    ///
    /// # Errors
    /// When the database does not answer: then it is let on, too.
    pub async fn over(self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }
}

/// Stands in place of a place where nothing can be signed at all.
pub const SIGNING: &str = "signing";

/// Checkpoints.
#[derive(Clone, Copy)]
pub struct Checkpoints<'a>(&'a Store);

impl Store {
    /// Checkpoints.
    pub fn checkpoints(&self) -> Checkpoints<'_> {
        Checkpoints(self)
    }
}

impl Checkpoints<'_> {
    /// The hashes of the first whole tiles, up to the first one that is missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tiles(self) -> Result<Vec<Hash>, sqlx::Error> {
        let rows =
            sqlx::query!("select n, hash from tree_tile where n >= 0 order by n").fetch_all(&self.0.pool).await?;
        let whole = (0..).zip(rows).take_while(|(n, row)| *n == row.n);
        Ok(whole.map_while(|(_, row)| row.hash.try_into().ok()).collect())
    }

    /// Keeps the hashes of tiles from a number on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_tiles(self, first: u64, hashes: &[Hash]) -> Result<(), sqlx::Error> {
        let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
        sqlx::query!(
            "insert into tree_tile (n, hash) select $1 + ord - 1, h from unnest($2::bytea[]) with ordinality t(h, ord)
             on conflict (n) do update set hash = excluded.hash",
            i64::try_from(first).unwrap_or(i64::MAX),
            &hashes
        )
        .execute(&self.0.pool)
        .await?;
        Ok(())
    }

    /// Forgets all tiles: they are made again from the events.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_tiles(self) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from tree_tile").execute(&self.0.pool).await.map(|_| ())
    }

    /// The events of a tile, as far as the log has them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tile(self, n: u64) -> Result<Vec<Entry>, sqlx::Error> {
        let first = i64::try_from(n * TILE).unwrap_or(i64::MAX);
        self.0.history().between(first, first.saturating_add(TILE as i64)).await
    }

    /// What was signed before another one, the newest first, and so many at most. What a row says is to be held against its
    /// note: whoever may write here may write anything.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn before(self, n: i64, limit: i64) -> Result<Vec<Signed>, sqlx::Error> {
        let rows = sqlx::query!(
            "select n, size, root, key_id, note, signed_at, code from checkpoint where n < $1 order by n desc limit $2",
            n,
            limit
        );
        let rows = rows.fetch_all(&self.0.pool).await?;
        Ok(rows.into_iter().map(|r| signed(r.n, r.size, &r.root, (r.key_id, r.note), r.signed_at, r.code)).collect())
    }

    /// The number of what was signed of so many events with this root; none where that is not known.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn number_of(self, size: u64, root: &Hash) -> Result<Option<i64>, sqlx::Error> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let n = sqlx::query_scalar!("select max(n) from checkpoint where size = $1 and root = $2", size, &root[..]);
        n.fetch_one(&self.0.pool).await
    }

    /// How many events were signed last before a time; 0 where none were. What was given up may have had more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn signed_before(self, at: DateTime<Utc>) -> Result<i64, sqlx::Error> {
        let size = sqlx::query_scalar!("select size from checkpoint where signed_at < $1 order by n desc limit 1", at);
        Ok(size.fetch_optional(&self.0.pool).await?.unwrap_or(0))
    }

    /// What was signed of so many events or more, the newest first, and so many at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn covering(self, position: i64, limit: i64) -> Result<Vec<Signed>, sqlx::Error> {
        let rows = sqlx::query!(
            "select n, size, root, key_id, note, signed_at, code from checkpoint where size >= $1 order by n desc limit $2",
            position,
            limit
        );
        let rows = rows.fetch_all(&self.0.pool).await?;
        Ok(rows.into_iter().map(|r| signed(r.n, r.size, &r.root, (r.key_id, r.note), r.signed_at, r.code)).collect())
    }

    /// What was signed after another one, in its order, and so many at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn after(self, n: i64, limit: i64) -> Result<Vec<Signed>, sqlx::Error> {
        let rows = sqlx::query!(
            "select n, size, root, key_id, note, signed_at, code from checkpoint where n > $1 order by n limit $2",
            n,
            limit
        );
        let rows = rows.fetch_all(&self.0.pool).await?;
        Ok(rows.into_iter().map(|r| signed(r.n, r.size, &r.root, (r.key_id, r.note), r.signed_at, r.code)).collect())
    }

    /// Waits until nobody else signs; whoever has the turn has it until it is over. Whoever may not write here can't take it.
    ///
    /// # Errors
    /// When the database does not answer, or somebody else takes long.
    pub async fn turn(self) -> Result<Turn, sqlx::Error> {
        let mut turn = self.0.pool.begin().await?;
        // Longer than anybody takes to sign; whoever is stopped in the middle of it keeps no turn for ever.
        sqlx::query("set local idle_in_transaction_session_timeout = '5min'").execute(&mut *turn).await?;
        sqlx::query!(
            "insert into rate_bucket (scope, tat) values ('checkpoint', coolops_now()) on conflict do nothing"
        )
        .execute(&mut *turn)
        .await?;
        sqlx::query!("select tat from rate_bucket where scope = 'checkpoint' for update").fetch_one(&mut *turn).await?;
        Ok(Turn(turn))
    }

    /// Notes what was signed after what was signed `before`; `false` where the database does not keep it. A note is never
    /// replaced: what is there stays. Whoever signs has its turn, and the master key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sign(
        self,
        size: u64,
        root: &Hash,
        key_id: &str,
        note: &str,
        before: Option<&Signed>,
    ) -> Result<bool, sqlx::Error> {
        let code = self.0.keys.as_deref().map(|keys| codes(keys).of(&row(size, root, key_id, before)));
        sqlx::query!(
            "insert into checkpoint (size, root, key_id, note, code) values ($1, $2, $3, $4, $5)
             on conflict (size, root, key_id) do nothing",
            i64::try_from(size).unwrap_or(i64::MAX),
            &root[..],
            key_id,
            note,
            code
        )
        .execute(&self.0.pool)
        .await?;
        let is_kept = sqlx::query_scalar!(
            r#"select exists (select from checkpoint where size = $1 and root = $2 and key_id = $3 and note = $4) as "is_kept!""#,
            i64::try_from(size).unwrap_or(i64::MAX),
            &root[..],
            key_id,
            note
        );
        is_kept.fetch_one(&self.0.pool).await
    }

    /// How far the places outside got, and whether something can be signed for them: see [`SIGNING`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn places(self) -> Result<Vec<PlaceState>, sqlx::Error> {
        sqlx::query_as!(
            PlaceState,
            "select place, size, kept, problem, failing_since from checkpoint_place order by place"
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// Notes that a place is well: the size of the newest checkpoint there, and up to which one all are there. Less than
    /// before where it was emptied.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn kept(self, place: &str, size: u64, kept: i64) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into checkpoint_place (place, size, kept) values ($1, $2, $3)
             on conflict (place) do update set size = excluded.size, kept = excluded.kept, asked_at = coolops_now(), problem = null, failing_since = null",
            place,
            i64::try_from(size).unwrap_or(i64::MAX),
            kept
        )
        .execute(&self.0.pool)
        .await?;
        Ok(())
    }

    /// Notes that what there is can be signed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn signs(self) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from checkpoint_place where place = $1", SIGNING).execute(&self.0.pool).await?;
        Ok(())
    }

    /// Why nothing can be signed; none while it can, or nobody tried.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unsigned_because(self) -> Result<Option<String>, sqlx::Error> {
        let why = sqlx::query_scalar!("select problem from checkpoint_place where place = $1", SIGNING);
        Ok(why.fetch_optional(&self.0.pool).await?.flatten())
    }

    /// Notes that a place could not be used, or nothing be signed: see [`SIGNING`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn failed(self, place: &str, problem: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into checkpoint_place (place, problem, failing_since) values ($1, $2, coolops_now())
             on conflict (place) do update set problem = excluded.problem, asked_at = coolops_now(), failing_since = coalesce(checkpoint_place.failing_since, excluded.failing_since)",
            place,
            problem
        )
        .execute(&self.0.pool)
        .await?;
        Ok(())
    }

    /// Why the log is closed; nothing while it is open.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn closed(self) -> Result<Option<String>, sqlx::Error> {
        let closed = sqlx::query_scalar!("select closed from event_head").fetch_optional(&self.0.pool);
        Ok(closed.await?.flatten())
    }

    /// Lets nothing be recorded any more, until the log is opened.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_log(self, why: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(r#"select close_log($1) is null as "done""#, why).fetch_one(&self.0.pool).await.map(|_| ())
    }

    /// Where an operator decided last that this log goes on, or opened it again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn decided_at(self) -> Result<Option<i64>, sqlx::Error> {
        let position = sqlx::query_scalar!(
            "select position from event where stream_id = $1 and type = 'fork_decided' order by stream_version desc limit 1",
            installation_stream()
        );
        position.fetch_optional(&self.0.pool).await
    }

    /// Where this log parts from another history of it, as an operator decided last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn parting(self) -> Result<Option<Parting>, sqlx::Error> {
        sqlx::query_as!(
            Parting,
            r#"select d.position, d.recorded_at as decided, coalesce(c.recorded_at, d.recorded_at) as "since!"
                 from event d cross join lateral (
                   -- What somebody planted may say anything.
                   select case when d.payload->>'after' ~ '^[1-9][0-9]{0,17}$' then (d.payload->>'after')::bigint else d.position - 1 end as position) common
                 left join event c on c.position = common.position
                where d.stream_id = $1 and d.type = 'fork_decided' and d.payload->>'until' is distinct from '0' order by d.stream_version desc limit 1"#,
            installation_stream()
        )
        .fetch_optional(&self.0.pool)
        .await
    }
}

/// A row as it is: one with a root that is none is not borne out by its note.
fn signed(
    n: i64,
    size: i64,
    root: &[u8],
    (key_id, note): (String, String),
    at: DateTime<Utc>,
    code: Option<Vec<u8>>,
) -> Signed {
    let (size, root) = (u64::try_from(size).unwrap_or(0), root.try_into().unwrap_or_default());
    Signed { n, size, root, key_id, note, at, code }
}
