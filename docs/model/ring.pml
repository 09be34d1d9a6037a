/* The ring and its doorbells, on CPUs that delay stores. See docs/model.md for how to run it.
 *
 * Each process stores into a buffer of its own, and a flusher, which runs whenever it likes, moves
 * the buffer's stores to memory: in order, as x86-64 does; or, with WEAK, in any order that keeps
 * the stores to one word. With WEAK the reader's loads of what HEAD covers may be done before that
 * of HEAD, too. Nobody has patience: a process that sleeps, sleeps until its bell is rung, so that
 * a lost wake-up is a state without a way on, which Spin reports as an invalid end state.
 *
 *   NO_FENCE     leave out the fences between arming, or publishing, and looking
 *   NO_RECHECK   sleep without looking once more after arming
 *   HEAD_FIRST   publish before the record is written
 *   TAIL_FIRST   free the space before it is copied
 *   WEAK         stores become visible in any order
 *   CHECKED      each record ends with a checksum of the whole stream so far
 *   LOCAL        that checksum covers its own record alone
 */

#ifdef CHECKED
#define WIDTH   2    /* words of a record: its content, and the checksum */
#else
#define WIDTH   1
#endif
#define SIZE    (2 * WIDTH)     /* words in the ring: two records */
#define MODULUS (2 * SIZE)      /* positions are counted modulo this: soon used up */
#ifndef RECORDS
#define RECORDS 4               /* round twice */
#endif

#define HEAD    0
#define TAIL    1
#define FULL    2    /* armed by the reader: it sleeps until there are records */
#define ROOM    3    /* armed by the writer: it sleeps until there is room */
#define DATA    4
#define WORDS   (DATA + SIZE)

#define W       0
#define R       1
#define DEPTH   4    /* stores that a buffer holds */

typedef Buffer { byte word[DEPTH]; byte value[DEPTH]; byte count };

byte memory[WORDS];
Buffer buffer[2];
bool bell[2];        /* of the writer, and of the reader: readable or not */

inline store(who, at, what)
{
    atomic {
        buffer[who].count < DEPTH ->
        buffer[who].word[buffer[who].count] = at;
        buffer[who].value[buffer[who].count] = what;
        buffer[who].count++
    }
}

/* The newest store of one's own, if it is still in the buffer; else what everybody sees. */
inline load(who, at, into)
{
    d_step {
        into = memory[at];
        k = 0;
        do
        :: k < buffer[who].count ->
            if
            :: buffer[who].word[k] == (at) -> into = buffer[who].value[k]
            :: else
            fi;
            k++
        :: else -> break
        od;
        k = 0
    }
}

inline fence(who)
{
#ifndef NO_FENCE
    buffer[who].count == 0
#else
    skip
#endif
}

inline flush(who, which)
{
    memory[buffer[who].word[which]] = buffer[who].value[which];
    k = which;
    do
    :: k + 1 < buffer[who].count ->
        buffer[who].word[k] = buffer[who].word[k + 1];
        buffer[who].value[k] = buffer[who].value[k + 1];
        k++
    :: else -> break
    od;
    buffer[who].count--;
    buffer[who].word[buffer[who].count] = 0;
    buffer[who].value[buffer[who].count] = 0;
    k = 0
}

#define WORD(i) buffer[who].word[i]
#define FIRST(i) (WORD(i) != WORD(0) && WORD(i) != WORD(1))

proctype Flusher(byte who)
{
    byte k;
end:
    do
    :: d_step { buffer[who].count > 0 -> flush(who, 0) }
#ifdef WEAK
    :: d_step { buffer[who].count > 1 && WORD(1) != WORD(0) -> flush(who, 1) }
    :: d_step { buffer[who].count > 2 && FIRST(2) -> flush(who, 2) }
    :: d_step { buffer[who].count > 3 && FIRST(3) && WORD(3) != WORD(2) -> flush(who, 3) }
#endif
    od
}

/* `Ringing.ring_if_armed`: once for each number that the other side has armed with. */
inline ring_if_armed(who, armed, whose)
{
    fence(who);
    load(who, armed, seen_armed);
    if
    :: seen_armed != 0 && seen_armed != rung -> rung = seen_armed; bell[whose] = true
    :: else
    fi;
    seen_armed = 0
}

/* `Arming.arm` */
inline arm(who, armed)
{
    count++;
    store(who, armed, count);
    fence(who)
}

#define USED(head, tail) ((head + MODULUS - tail) % MODULUS)

proctype Writer()
{
    byte number = 1, head, tail, count, rung, seen_armed, k;
    do
    :: number <= RECORDS ->
        load(W, TAIL, tail);
        if
        :: USED(head, tail) + WIDTH > SIZE ->
            ring_if_armed(W, FULL, R);
            arm(W, ROOM);
#ifndef NO_RECHECK
            load(W, TAIL, tail);
#endif
            if
            :: USED(head, tail) + WIDTH > SIZE -> bell[W]; bell[W] = false
            :: else
            fi;
            store(W, ROOM, 0)
        :: else ->
#ifdef HEAD_FIRST
            store(W, HEAD, (head + WIDTH) % MODULUS);
#endif
            store(W, DATA + head % SIZE, number);
#ifdef CHECKED
            store(W, DATA + (head + 1) % SIZE, number);
#endif
            head = (head + WIDTH) % MODULUS;
#ifndef HEAD_FIRST
            store(W, HEAD, head);
#endif
            number++;
            if  /* the bell may wait for further records, but not for ever */
            :: ring_if_armed(W, FULL, R)
            :: number <= RECORDS -> skip
            fi
        fi
    :: else -> break
    od
}

/* One word of what HEAD covers: as it is now, or as it was before HEAD was loaded. */
inline copy(place, into)
{
    if
    :: load(R, DATA + (place) % SIZE, into)
#ifdef WEAK
    :: into = early[(place) % SIZE]
#endif
    fi
}

inline look_early()
{
#ifdef WEAK
    d_step {
        k = 0;
        do
        :: k < SIZE -> early[k] = memory[DATA + k]; k++
        :: else -> break
        od;
        k = 0
    }
#else
    skip
#endif
}

proctype Reader()
{
    byte expected = 1, head, seen, at, next, content, count, rung, seen_armed, k;
    bool whole;
#ifdef CHECKED
    byte seal;
#endif
#ifdef WEAK
    byte early[SIZE];
#endif
    do
    :: expected <= RECORDS ->
        look_early();
        load(R, HEAD, head);
        if
        :: head == seen ->
            arm(R, FULL);
#ifndef NO_RECHECK
            load(R, HEAD, head);
#endif
            if
            :: head == seen -> bell[R]; bell[R] = false
            :: else
            fi;
            store(R, FULL, 0)
        :: else ->
#ifdef TAIL_FIRST
            store(R, TAIL, head);
#endif
            /* All that was published, word by word, and only then a look at what it is. */
            at = seen;
            next = expected;
            whole = true;
            do
            :: at != head ->
                copy(at, content);
#ifdef CHECKED
                copy(at + 1, seal);
#ifdef LOCAL
                whole = whole && seal == content;
                assert(!whole || content == next);
#else
                /* A checksum of the stream so far tells any other stream from the one that was
                 * written: so it is right exactly if content and checksum are those of `next`. */
                whole = whole && content == next && seal == next;
#endif
                seal = 0;
#else
                assert(content == next);    /* not torn, not repeated, none left out */
#endif
                content = 0;
                next++;
                at = (at + WIDTH) % MODULUS
            :: else -> break
            od;
            if
            :: whole ->
                seen = head;
                expected = next;
#ifndef TAIL_FIRST
                store(R, TAIL, head);
#endif
                ring_if_armed(R, ROOM, W)
            :: else             /* not all there yet: look again */
            fi;
            at = 0;
            next = 0
        fi
    :: else -> break
    od
}

init
{
    atomic {
        run Flusher(W);
        run Flusher(R);
        run Writer();
        run Reader()
    }
}
