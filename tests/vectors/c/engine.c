/* Stand-ins for what an engine brings to the example in protocol/c/README.md: a connection that plays the lines of
 * stdin (a message as hex, one for each picture), and a scene that prints. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isthmus.h"

bool engine_connected(void);
bool engine_receive(isthmus_bytes *message);
void engine_send(const uint8_t *message, size_t bytes);
uint32_t engine_clock_ms(void);
void engine_changed(const isthmus_change *change);
void engine_draw(uint64_t id, const double at_m[3], double yaw_rad);
void engine_draw_hands(const isthmus_pose *pose);
bool engine_hands(isthmus_pose *pose);

static char line[65536];
static uint8_t message_bytes[sizeof line / 2];
static bool ended, had_one;

bool engine_connected(void) {
  had_one = false;
  return !ended;
}

bool engine_receive(isthmus_bytes *message) {
  if (had_one || fgets(line, sizeof line, stdin) == NULL) {
    ended = !had_one;
    return false;
  }
  size_t bytes = strcspn(line, "\n") / 2;
  for (size_t i = 0; i < bytes; i++) {
    char pair[3] = {line[2 * i], line[2 * i + 1], 0};
    message_bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  *message = (isthmus_bytes){message_bytes, bytes};
  had_one = true;
  return true;
}

void engine_send(const uint8_t *message, size_t bytes) {
  printf("sent ");
  for (size_t i = 0; i < bytes; i++) printf("%02x", message[i]);
  printf("\n");
}

uint32_t engine_clock_ms(void) { return 1234; }

void engine_changed(const isthmus_change *change) { printf("changed %u\n", change->number); }

void engine_draw(uint64_t id, const double at_m[3], double yaw_rad) {
  printf("drawn %" PRIu64 " %.6f %.6f %.6f\n", id, at_m[0], at_m[1], at_m[2]);
  (void)yaw_rad;
}

void engine_draw_hands(const isthmus_pose *pose) { printf("hands %u %u\n", pose->number, pose->tracked); }

bool engine_hands(isthmus_pose *pose) { /* once */
  static bool said;
  *pose = (isthmus_pose){.tracked = ISTHMUS_HEAD, .p_m = {{0.0, 1.5, 0.0}}, .q = {{0.0, 0.0, 0.0, 1.0}}};
  return !said && (said = true);
}
