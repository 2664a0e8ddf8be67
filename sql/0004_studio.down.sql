DROP VIEW pixshift.violation_hold_job, pixshift.violation_job_hold, pixshift.audit_job;
DROP FUNCTION pixshift.studio_purge(integer), pixshift.image_take_once(uuid),
    pixshift.image_downloaded(uuid, bigint),
    pixshift.job_redrive(uuid, uuid, text, integer, jsonb, bigint), pixshift.job_cancel(uuid, uuid),
    pixshift.job_reap(uuid, integer), pixshift.job_requeue(uuid[], uuid[], bigint[]),
    pixshift.attempt_end(uuid[], uuid[], text[], text[], text[], text[], bigint[]),
    pixshift.attempt_note(uuid, uuid, integer, text, text, bigint),
    pixshift.attempt_begin(uuid, uuid, text, boolean), pixshift.job_heartbeat(uuid, bigint),
    pixshift.job_claim(uuid, integer, bigint),
    pixshift.job_finish(uuid[], uuid[], text[], uuid[], text[], text[], boolean[]),
    pixshift.job_end(uuid[], text[], uuid[], text[], text[], boolean[]),
    pixshift.job_create(uuid, uuid, text, uuid, jsonb, text, jsonb, text, bigint, text, text, text, text,
                        integer, jsonb, bigint, integer, integer),
    pixshift.job_check_open(uuid, integer), pixshift.job_count_rules(jsonb, timestamptz),
    pixshift.prompt_add(text, text, text, text, uuid, boolean), pixshift.prompt_activate(uuid);
DROP TABLE pixshift.workers, pixshift.job_counters, pixshift.dead_letters, pixshift.job_events,
    pixshift.job_attempts, pixshift.jobs, pixshift.images, pixshift.prompts,
    pixshift.transformation_types;
DROP FUNCTION pixshift.worker_class();
