"""Networks: functions and classes that make a keras.Model. They know neither files nor flags."""
