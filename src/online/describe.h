/* A proved step in words and values. */
#ifndef MFDRELAY_ONLINE_DESCRIBE_H
#define MFDRELAY_ONLINE_DESCRIBE_H

struct client_view;
struct config;
struct step;
struct upstream_config;

/* Fill status, text, advice and facts of a step that a client of upstream has just proved (step->kind says which). */
void describe_step(struct step *step, const struct client_view *view, const struct config *config,
    const struct upstream_config *upstream);

#endif
